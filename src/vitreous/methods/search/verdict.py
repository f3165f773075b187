"""Whether a result can be trusted, and why."""

import math
from dataclasses import dataclass

from vitreous.constants import FSC_GOLD_STANDARD
from vitreous.data import Particles, Result
from vitreous.fourier.shells import crossing_shell
from vitreous.methods.search.junk import DOUBTFUL, junk_warnings
from vitreous.methods.search.starts import AGREEMENT_SHARE
from vitreous.typing import Float, Tensor

FAILED_BELOW_SHELL = 7.0
"""Half-maps that agree no further share a blob, not a structure: noise aligned to one start reaches this far."""

AMBIGUOUS_EFFECTIVE_POSES = 20.0
FAILED_EFFECTIVE_POSES = 1000.0
AMBIGUOUS_EXPLAINED = 0.5
"""True maps of stacks at an SNR of 0.1 explained 0.9 and more of the power above the noise, at 0.05 about 0.7; maps to
which images were fitted that they do not resemble, 0.2 to 0.35."""

FAILED_FOUND_AGAIN, AMBIGUOUS_FOUND_AGAIN = 0.35, 0.75


@dataclass(frozen=True)
class Evidence:
    """What speaks for or against a result beside its half-maps.

    Attributes
    ----------
    agreement_shell
        Shell at which two maps from independent random starts stop agreeing (FSC 0.5).
    effective_poses
        How many grid poses share each image's weight.
    gains
        Log-likelihood gain of each image over an empty map.
    found_again
        Share of the particles that find their refined pose again in a global search; None where it was not asked.
    independent
        Whether each half was searched from its own particles alone.
    shared_radius
        Fourier pixels up to which these searches began with the same; 0 where with nothing.
    """

    agreement_shell: float
    effective_poses: Float[Tensor, " n"]
    gains: Float[Tensor, " n"]
    found_again: float | None = None
    independent: bool = False
    shared_radius: float = 0.0


def judge(made: Result, evidence: Evidence, search_radius: float) -> tuple[str, list[str]]:
    """Verdict and its reasons in plain words.

    ``failed`` if the half-maps do not agree beyond seven shells, the map explains no image, or images fit a thousand
    poses alike; ``ambiguous`` if two searches led to different maps, the half-maps part before the radius of the
    search or of a given start, the median image fits twenty poses alike and it was not asked whether refined poses
    come back, they do not, the map explains less than half of what the images show, or a third of them look like junk;
    ``solved`` otherwise. Halves that share nothing,
    and agree in the end, need not have agreed from the first.
    """
    failure = _failure(made, evidence)
    if failure is not None:
        return "failed", [failure]
    reasons = [*_parted_searches(evidence, search_radius), *_early_crossing(made, evidence, search_radius)]
    if evidence.found_again is not None and evidence.found_again < AMBIGUOUS_FOUND_AGAIN:
        reasons.append(
            f"Only {evidence.found_again:.0%} of the particles find their pose again when all orientations are "
            "searched: many poses are wrong. Refine once more from the map (--map)."
        )
    explained = made.metrics.get("explained_share", math.nan)
    if explained < AMBIGUOUS_EXPLAINED:
        reasons.append(
            f"The map explains {max(explained, 0):.0%} of what images of the other half show above their noise: poses, "
            "or the whole map, may be wrong although the halves agree, or the particles are of several kinds. Clean "
            "the particles by 2D classification (neighbours in the box mislead most), give --diameter-A, and repeat "
            "with other seeds."
        )
    junk = made.metrics.get("junk_share", 0.0)
    if junk > DOUBTFUL:
        reasons += junk_warnings(junk)
    effective = float(evidence.effective_poses.median())
    if effective > AMBIGUOUS_EFFECTIVE_POSES and evidence.found_again is None:
        reasons.append(
            f"The median image fits {effective:.0f} poses about equally well: orientations are uncertain. "
            "Check the map against 2D classes and repeat with another --seed."
        )
    return ("ambiguous" if reasons else "solved"), reasons


def independence(shared_radius: float, particles: Particles) -> dict[str, float]:
    """For the summary: the resolution in Å beyond which nothing was shared by the halves, where anything was."""
    side_A = particles.box * particles.pixel_size_A
    return {"independent_beyond_A": side_A / shared_radius} if shared_radius > 0 else {}


def _parted_searches(evidence: Evidence, search_radius: float) -> list[str]:
    """Why searches that led to different maps make a result uncertain, unless the halves share nothing."""
    shares_nothing = evidence.independent and evidence.shared_radius == 0
    if shares_nothing or evidence.agreement_shell >= AGREEMENT_SHARE * search_radius:
        return []
    shells = f"to shell {evidence.agreement_shell:.1f} of {search_radius:.0f} only"
    if evidence.independent:
        return [
            f"A search from random orientations agrees {shells} with what the given start led to. The latter explains "
            "the images better and was kept, but a start can mislead both halves alike: their FSC does not show it. "
            "Trust the map if runs from other starts come back to it."
        ]
    return [
        f"Two searches from different starts agree {shells}: the better one was kept, but it may be wrong, whatever "
        "its half-maps say, because both halves begin with it. Repeat with other seeds and trust a map that comes back."
    ]


def _early_crossing(made: Result, evidence: Evidence, search_radius: float) -> list[str]:
    """Why half-maps that part before the radius of the search, or of what they share, show less than they seem to."""
    shell = None if made.curves is None else crossing_shell(made.curves.final, FSC_GOLD_STANDARD)
    shared = evidence.shared_radius or search_radius
    radius = max(search_radius, evidence.shared_radius)
    if made.curves is None or shell is None or shell > radius:
        return []
    step_per_A = float(made.curves.frequency_per_A[1])
    why = (
        f"The halves, searched independently, agree to less than the {1 / (radius * step_per_A):.1f} Å of the search: "
        "that may be a shape without detail."
        if evidence.independent and shell > evidence.shared_radius
        else f"Both halves begin with a start that reaches {1 / (shared * step_per_A):.1f} Å, and their FSC falls "
        "before that: the stated resolution is not independent evidence."
    )
    return [f"{why} Use more particles, or a larger box or smaller pixels."]


def _failure(made: Result, evidence: Evidence) -> str | None:
    shell = None if made.curves is None else crossing_shell(made.curves.unmasked, FSC_GOLD_STANDARD)
    if made.curves is not None and shell is not None and shell < FAILED_BELOW_SHELL:
        reach_A = 1 / (shell * float(made.curves.frequency_per_A[1]))
        return (
            f"The half-maps agree up to {reach_A:.0f} Å only: there is no trustworthy map. "
            "Clean the particles by 2D classification, give --diameter-A, or try another --seed."
        )
    if evidence.found_again is not None and evidence.found_again < FAILED_FOUND_AGAIN:
        return (
            f"Only {evidence.found_again:.0%} of the particles find their pose again when all orientations are "
            "searched: most poses are wrong. Give another map with --map, or run `vitreous abinitio` without one."
        )
    if float(evidence.gains.median()) <= 0:
        return "The map explains less than half of the images. Clean the particles by 2D classification."
    effective = float(evidence.effective_poses.median())
    if effective > FAILED_EFFECTIVE_POSES:
        return (
            f"The median image fits {effective:.0f} poses equally well: the images do not determine orientations. "
            "Check the CTF, the pixel size and the contrast, or clean the particles by 2D classification."
        )
    return None
