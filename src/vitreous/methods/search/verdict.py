"""Whether a result can be trusted, and why."""

from vitreous.constants import FSC_GOLD_STANDARD
from vitreous.data import Result
from vitreous.fourier.shells import crossing_shell
from vitreous.typing import Float, Tensor

FAILED_BELOW_SHELL = 7.0
"""Half-maps that agree no further share a blob, not a structure: noise aligned to one start reaches this far."""

AMBIGUOUS_EFFECTIVE_POSES = 20.0


def judge(made: Result, effective_poses: Float[Tensor, " n"], gains: Float[Tensor, " n"]) -> tuple[str, list[str]]:
    """Verdict and its reasons in plain words.

    ``failed`` if the half-maps do not agree beyond seven shells or the map explains no image; ``ambiguous`` if the
    median image could not tell twenty poses apart; ``solved`` otherwise.
    """
    shell = None if made.curves is None else crossing_shell(made.curves.unmasked, FSC_GOLD_STANDARD)
    if made.curves is not None and shell is not None and shell < FAILED_BELOW_SHELL:
        reach_A = 1 / (shell * float(made.curves.frequency_per_A[1]))
        return "failed", [
            f"The half-maps agree up to {reach_A:.0f} Å only: there is no "
            "trustworthy map. Clean the particles by 2D classification, give --diameter, or try another --seed."
        ]
    if float(gains.median()) <= 0:
        return "failed", ["The map explains less than half of the images. Clean the particles by 2D classification."]
    effective = float(effective_poses.median())
    if effective > AMBIGUOUS_EFFECTIVE_POSES:
        return "ambiguous", [
            f"The median image fits {effective:.0f} poses about equally well: orientations are uncertain. "
            "Check the map against 2D classes and repeat with another --seed."
        ]
    return "solved", []
