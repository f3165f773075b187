"""Rough centring of sets of views, before any pose is known."""

from functools import lru_cache

import torch
from torch import Tensor

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.typing import Complex, Float

_ITERATIONS = 5


def centre_shifts(images: Float[Tensor, "b n y x"], reach: float = 0.14) -> Float[Tensor, "b n 2"]:
    """Estimate where the particle lies in each view, in units of the field.

    Cross-correlation with the set's rotational mean, whose coefficients are real. Imaginary parts of centred views
    are noise and the odd part of the particle's shape, so that a shell's weight is ``T / O`` with ``T`` the mean
    coefficient and ``O`` the mean squared imaginary part. Shapes are even at the lowest shells, which hold the centre
    of mass; noise makes higher ones worth while.

    Parameters
    ----------
    images
        Views before masking.
    reach
        Largest shift.
    """
    box = images.shape[-1]
    transforms = rfft2_centred(images)
    shifts = images.new_zeros(*images.shape[:2], 2)
    axis = (torch.arange(box, device=images.device) - box // 2) / box
    outside = torch.hypot(axis[:, None], axis) > reach
    member = _shells(box).to(images.device)
    for _ in range(_ITERATIONS):
        centred = (transforms * shift_phases(-shifts, box)).flatten(-2)
        mean = centred.real.mean(1) @ member / member.sum(0)
        odd = centred.imag.square().mean(1) @ member / member.sum(0)
        least = 1e-6 * mean.square().amax(-1, keepdim=True)
        weight = (mean / odd.clamp_min(least.clamp_min(1e-30))) @ member.T  # blank images have neither part
        match = irfft2_centred(transforms * weight.unflatten(-1, (box, -1))[:, None], box)
        shifts = _peak(match.masked_fill(outside, -torch.inf))
    return shifts


def shift_phases(shifts: Float[Tensor, "*b 2"], box: int) -> Complex[Tensor, "*b y half_x"]:
    """Factors ``exp(−2πi k·t)`` that move images by ``t`` (in units of the field)."""
    kx, ky = half_plane_indices(box, shifts.device)
    phase = -2 * torch.pi * (shifts[..., 0, None, None] * kx + shifts[..., 1, None, None] * ky)
    return torch.polar(torch.ones_like(phase), phase)


@lru_cache(maxsize=4)
def _shells(box: int) -> Tensor:
    """Membership of half-plane coefficients in shells 1 … 4 ``[half plane, shells]``."""
    kx, ky = half_plane_indices(box)
    shell = torch.floor(torch.hypot(kx, ky) + 0.5).reshape(-1)
    return (shell[:, None] == torch.arange(1, 5)).float()


def _peak(match: Tensor) -> Tensor:
    """Return the place of the highest pixel, refined by a parabola along each axis, in units of the field."""
    box = match.shape[-1]
    best = match.flatten(-2).argmax(-1)
    y, x = best // box, best % box
    at = match.flatten(-2)

    def value(dy: int, dx: int) -> Tensor:
        return at.gather(-1, ((y + dy) * box + x + dx)[..., None])[..., 0]

    def vertex(before: Tensor, centre: Tensor, after: Tensor) -> Tensor:
        curvature = before + after - 2 * centre
        offset = 0.5 * (before - after) / curvature
        return torch.where(torch.isfinite(offset), offset, 0.0).clamp(-0.5, 0.5)

    middle = value(0, 0)
    fine = torch.stack([vertex(value(0, -1), middle, value(0, 1)), vertex(value(-1, 0), middle, value(1, 0))], -1)
    return (torch.stack([x, y], -1) - box // 2 + fine) / box
