"""What two half-maps say about resolution."""

import torch
from torch import Tensor

from vitreous.constants import FSC_GOLD_STANDARD, FSC_TO_TRUTH
from vitreous.data import ResolutionCurves, Volume
from vitreous.fourier.filters import randomise_phases
from vitreous.fourier.shells import crossing_shell, fsc
from vitreous.typing import Float, Map

RANDOMISE_BELOW_FSC = 0.8
"""Phases are randomised from the shell at which the unmasked FSC falls below this (Chen et al. 2013)."""

MASK_EFFECT_WARNING = 0.05
"""Phase-randomised FSC at the claimed resolution above which the mask is suspected."""


def agreement_shell(first: Map, second: Map, radius: float) -> float:
    """Shell at which two maps in one frame stop agreeing (FSC 0.5); the radius where they agree to there."""
    shell = crossing_shell(fsc(first, second), FSC_TO_TRUTH)
    return radius if shell is None else min(radius, float(shell))


def half_map_curves(halves: tuple[Volume, Volume], mask: Map | None, seed: int = 0) -> ResolutionCurves:
    """FSC of two half-maps: unmasked and, with a mask, masked, phase-randomised and corrected.

    ``corrected = (masked − randomised) / (1 − randomised)`` beyond the shell from which phases were randomised, two
    shells further on as in RELION, and ``masked`` before (Chen et al. 2013, doi:10.1016/j.ultramic.2013.06.004).
    """
    first, second = (half.values for half in halves)
    box, extent_A = halves[0].box, halves[0].box * halves[0].voxel_size_A
    frequency = torch.arange(box // 2 + 1, dtype=torch.float64) / extent_A
    unmasked = fsc(first, second)
    if mask is None:
        return ResolutionCurves(frequency, unmasked)
    start = crossing_shell(unmasked, RANDOMISE_BELOW_FSC)
    first_random = max(int(start) if start is not None else box // 2, 1)
    generator = torch.Generator().manual_seed(seed)
    masked = fsc(first * mask, second * mask)
    noise = [randomise_phases(half, float(first_random), generator) * mask for half in (first, second)]
    randomised = fsc(noise[0], noise[1])
    corrected = masked.clone()
    beyond = torch.arange(len(masked)) >= first_random + 2
    floor = randomised.clamp(0, 0.999)
    corrected[beyond] = ((masked - floor) / (1 - floor))[beyond]
    return ResolutionCurves(frequency, unmasked, masked, randomised, corrected, float(frequency[first_random]))


def resolution_of(curves: ResolutionCurves, threshold: float = FSC_GOLD_STANDARD) -> float:
    """Resolution in Å at which the final curve first falls below the threshold (Nyquist if it never does)."""
    shell = crossing_shell(curves.final, threshold)
    step = float(curves.frequency_per_A[1])
    return 1 / (step * (shell if shell is not None else len(curves.final) - 1))


def mask_warning(curves: ResolutionCurves, resolution_A: float) -> str | None:
    """Warning where the mask alone correlates the half-maps at the claimed resolution."""
    if curves.randomised is None:
        return None
    shell = min(round(1 / (resolution_A * float(curves.frequency_per_A[1]))), len(curves.randomised) - 1)
    effect = float(curves.randomised[shell])
    if effect <= MASK_EFFECT_WARNING:
        return None
    return (
        f"The mask alone gives an FSC of {effect:.2f} at {resolution_A:.1f} Å: it is too tight or too sharp. "
        "Use a wider or softer one."
    )


def signal_to_noise(curve: Float[Tensor, " shells"]) -> Float[Tensor, " shells"]:
    """Spectral SNR of the full map from the half-map FSC: ``2·FSC / (1 − FSC)``, zero beyond its first fall to zero."""
    alive = torch.cumprod((curve > 0).double(), 0)
    alive[0] = 1.0
    clipped = curve.clamp(0.0, 0.9999)
    return torch.where(alive > 0, 2 * clipped / (1 - clipped), torch.zeros_like(clipped))
