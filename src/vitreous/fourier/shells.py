"""Shell averages, Fourier shell correlation and its crossing rule.

Shell k covers radii in ``[k − ½, k + ½)`` voxels of frequency; a box of n voxels has the shells ``0 … n // 2``.
"""

import torch
from torch import Tensor

from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import rfft3_centred
from vitreous.typing import Complex, Float, Map


def _shells_and_weights(box: int, device: torch.device) -> tuple[Tensor, Tensor]:
    shell = torch.floor(half_space_radii(box, device) + 0.5).long()
    weight = torch.full((box // 2 + 1,), 2.0, dtype=torch.float64, device=device)
    weight[0] = 1.0
    if box % 2 == 0:
        weight[-1] = 1.0
    return shell, weight.expand(shell.shape)


def shell_sums(values: Float[Tensor, "z y half_x"], box: int) -> Float[Tensor, " shells"]:
    """Sum a half-space quantity over shells ``0 … box // 2`` of the whole space (Friedel mates counted twice)."""
    shell, weight = _shells_and_weights(box, values.device)
    inside = shell <= box // 2
    out = torch.zeros(box // 2 + 1, dtype=torch.float64, device=values.device)
    return out.index_add_(0, shell[inside], (values.double() * weight)[inside])


def shell_means(values: Float[Tensor, "z y half_x"], box: int) -> Float[Tensor, " shells"]:
    """Average a half-space quantity over shells."""
    return shell_sums(values, box) / shell_sums(torch.ones_like(values), box)


def radial_power(volume: Map) -> Float[Tensor, " shells"]:
    """Mean of ``|F|²`` in each shell of a map."""
    return shell_means(rfft3_centred(volume).abs().square(), volume.shape[-1])


def fsc_of_transforms(
    first: Complex[Tensor, "z y half_x"], second: Complex[Tensor, "z y half_x"], box: int
) -> Float[Tensor, " shells"]:
    """Fourier shell correlation of two half-space transforms (Harauz & van Heel 1986)."""
    cross = shell_sums((first * second.conj()).real, box)
    power = shell_sums(first.abs().square(), box) * shell_sums(second.abs().square(), box)
    return torch.where(power > 0, cross / power.clamp_min(1e-300).sqrt(), torch.zeros_like(cross))


def fsc(first: Map, second: Map) -> Float[Tensor, " shells"]:
    """Fourier shell correlation of two maps of the same cubic box, shells ``0 … n // 2``."""
    box = first.shape[-1]
    return fsc_of_transforms(rfft3_centred(first.double()), rfft3_centred(second.double()), box)


def crossing_shell(curve: Float[Tensor, " shells"], threshold: float) -> float | None:
    """Shell, interpolated linearly, at which a curve first falls below ``threshold``; None if it never does.

    Shell 0 is left out: it holds the mean density only. A curve below the threshold from shell 1 on crosses at 1.
    """
    below = torch.nonzero(curve[1:] < threshold)
    if len(below) == 0:
        return None
    k = int(below[0]) + 1
    if k == 1:
        return 1.0
    high, low = float(curve[k - 1]), float(curve[k])
    return k - 1 + (high - threshold) / (high - low)


def resolution_A(curve: Float[Tensor, " shells"], threshold: float, box: int, voxel_size_A: float) -> float:
    """Resolution in Å at the first crossing of ``threshold``; the Nyquist limit if there is none."""
    shell = crossing_shell(curve, threshold)
    return box * voxel_size_A / (shell if shell is not None else len(curve) - 1)
