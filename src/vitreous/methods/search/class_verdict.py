"""Whether classes can be trusted, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from vitreous.constants import FSC_GOLD_STANDARD
from vitreous.data import Result
from vitreous.fourier.shells import crossing_shell
from vitreous.methods.search.starts import enough_shell
from vitreous.methods.search.verdict import FAILED_BELOW_SHELL
from vitreous.typing import Float, Int, Tensor

SURE = 0.9
"""A particle whose class has at least this probability is sure of it."""

SURE_SHARE = 0.5


@dataclass(frozen=True)
class ClassEvidence:
    """What speaks for or against classes, the largest first.

    Attributes
    ----------
    sizes
        Particles of each class.
    agreement_shells
        Shell at which the maps that the two halves found for a class stop agreeing (FSC 0.5); with given maps, also
        those that a search from random orientations found.
    posteriors
        Probability of every class for every particle.
    shared_radius
        Fourier pixels up to which both halves began with the same maps; 0 where with nothing.
    """

    sizes: Int[Tensor, " c"]
    agreement_shells: Float[Tensor, " c"]
    posteriors: Float[Tensor, "n c"]
    shared_radius: float = 0.0


def judge_classes(
    made: Sequence[Result | None], evidence: ClassEvidence, search_radius: float
) -> tuple[str, list[str]]:
    """Verdict and its reasons in plain words.

    ``failed`` if no class has half-maps that agree beyond seven shells; ``ambiguous`` if a class is empty, has none,
    was found in one half only, or from given maps only, or most particles could belong to several classes; ``solved``
    otherwise. Half-maps that agree no further than given maps reach count as those that hardly agree.
    """
    reasons, reliable = [], 0
    for k, result in enumerate(made, start=1):
        shell = None if result is None or result.curves is None else _crossing(result)
        if shell is None:
            reasons.append(f"Class {k} holds {int(evidence.sizes[k - 1])} particles, too few for a map.")
        elif shell < max(FAILED_BELOW_SHELL, evidence.shared_radius):
            reasons.append(f"The half-maps of class {k} hardly agree: it may hold junk. Look at it before you use it.")
        else:
            reliable += 1
            if evidence.agreement_shells[k - 1] < enough_shell(search_radius, evidence.shared_radius):
                where = "from the given maps" if evidence.shared_radius > 0 else "in one half of the particles"
                also = "not from random orientations" if evidence.shared_radius > 0 else "and given to the other"
                reasons.append(
                    f"Class {k} was found {where} only, {also}. Repeat with another --seed and trust a class that "
                    "comes back."
                )
    if reliable == 0:
        return "failed", ["No class has half-maps that agree: there is no trustworthy map. Try fewer --classes."]
    sure = float((evidence.posteriors.amax(1) >= SURE).float().mean())
    if sure < SURE_SHARE:
        reasons.append(
            f"Only {sure:.0%} of the particles are sure of their class (probability of {SURE} or more). Use fewer "
            "--classes, or larger boxes or smaller pixels where the particles allow it."
        )
    return ("ambiguous" if reasons else "solved"), reasons


def _crossing(result: Result) -> float | None:
    if result.curves is None:
        return None
    shell = crossing_shell(result.curves.unmasked, FSC_GOLD_STANDARD)
    return float(len(result.curves.unmasked) - 1) if shell is None else float(shell)
