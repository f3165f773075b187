"""Radial filters of maps."""

import torch
from torch import Tensor

from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import irfft3_centred, rfft3_centred
from vitreous.typing import Float, Map


def apply_radial(values: Map, gain: Float[Tensor, " shells"]) -> Map:
    """Multiply a map's transform by a radial gain, interpolated linearly between shells; zero beyond the last."""
    box = values.shape[-1]
    radius = half_space_radii(box, values.device)
    padded = torch.cat([gain.to(values), gain.new_zeros(2).to(values)])
    low = radius.floor().long().clamp_max(len(gain))
    fraction = (radius - low).clamp(0, 1).to(values)
    weight = padded[low] * (1 - fraction) + padded[(low + 1).clamp_max(len(gain) + 1)] * fraction
    return irfft3_centred(rfft3_centred(values) * weight, box)


def low_pass(values: Map, cutoff_shell: float, width: float = 2.0) -> Map:
    """Low-pass a map with a raised-cosine edge of ``width`` shells about ``cutoff_shell``."""
    shell = torch.arange(values.shape[-1] // 2 + 1, dtype=torch.float64)
    position = ((shell - cutoff_shell) / width + 0.5).clamp(0, 1)
    return apply_radial(values, 0.5 * (1 + torch.cos(torch.pi * position)))


def low_pass_to(values: Map, resolution_A: float, voxel_size_A: float) -> Map:
    """Low-pass a map at a resolution in Å."""
    return low_pass(values, values.shape[-1] * voxel_size_A / resolution_A)


def randomise_phases(values: Map, from_shell: float, generator: torch.Generator) -> Map:
    """Replace the phases beyond a shell by random ones, keeping amplitudes (Chen et al. 2013)."""
    box = values.shape[-1]
    transform = rfft3_centred(values)
    noise = rfft3_centred(torch.randn(values.shape, generator=generator).to(values))
    phase = noise / noise.abs().clamp_min(1e-20)
    beyond = half_space_radii(box) >= from_shell
    return irfft3_centred(torch.where(beyond, transform.abs() * phase, transform), box)
