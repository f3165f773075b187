"""From half-maps to the map that is looked at: FSC weighting and sharpening."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.data import ResolutionCurves, Volume
from vitreous.fourier.filters import apply_radial
from vitreous.fourier.shells import radial_power
from vitreous.typing import Float

GUINIER_FROM_A = 10.0
"""The Guinier fit uses frequencies beyond 10 Å, where protein density falls off as a Gaussian."""

GUINIER_NEEDS_A = 6.0
"""A map of lower resolution leaves the fit too short a line: it would measure the map's own fall-off."""


@dataclass(frozen=True)
class Sharpened:
    """A map for display and the B-factor that was applied (negative sharpens; 0 for none)."""

    volume: Volume
    bfactor_A2: float


def figure_of_merit(curve: Float[Tensor, " shells"]) -> Float[Tensor, " shells"]:
    """``√(2·FSC / (1 + FSC))`` up to the first fall to zero (Rosenthal & Henderson 2003, eq. 14)."""
    alive = torch.cumprod((curve > 0).double(), 0)
    alive[0] = 1.0
    clipped = curve.clamp(0.0, 1.0)
    return torch.where(alive > 0, (2 * clipped / (1 + clipped)).sqrt(), torch.zeros_like(clipped))


def guinier_bfactor_A2(volume: Volume, curve: Float[Tensor, " shells"], resolution_A: float) -> float:
    """B-factor by a line through ``ln(C_ref·|F|)`` over ``s²`` between 10 Å and the resolution (same source).

    Returns 0 where the resolution is worse than 6 Å or fewer than five shells lie between them.
    """
    if resolution_A > GUINIER_NEEDS_A:
        return 0.0
    extent_A = volume.box * volume.voxel_size_A
    shells = torch.arange(len(curve), dtype=torch.float64)
    first, last = extent_A / GUINIER_FROM_A, extent_A / resolution_A
    chosen = (shells >= first) & (shells <= last) & (curve > 0)
    if int(chosen.sum()) < 5:
        return 0.0
    amplitude = radial_power(volume.values).sqrt() * figure_of_merit(curve)
    s2 = (shells[chosen] / extent_A) ** 2
    y = amplitude[chosen].clamp_min(1e-30).log()
    slope = ((s2 - s2.mean()) * (y - y.mean())).sum() / ((s2 - s2.mean()) ** 2).sum()
    return min(4 * float(slope), 0.0)


def sharpen(volume: Volume, curves: ResolutionCurves, resolution_A: float, bfactor_A2: float | None) -> Sharpened:
    """Weight a map by its FSC and sharpen it by ``exp(−B·s²/4)``; B is fitted where it is None."""
    curve = curves.final
    b = guinier_bfactor_A2(volume, curve, resolution_A) if bfactor_A2 is None else bfactor_A2
    gain = figure_of_merit(curve) * torch.exp(-b * curves.frequency_per_A**2 / 4)
    return Sharpened(Volume(apply_radial(volume.values, gain), volume.voxel_size_A, volume.origin_A), b)
