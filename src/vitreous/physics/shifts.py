"""In-plane shifts as phase ramps."""

import math

import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc, half_plane_indices
from vitreous.typing import Complex, Shifts


def _axis_phases(shift_boxes: Tensor, k: Tensor) -> Tensor:
    angle = (-2 * math.pi) * shift_boxes[:, None] * k[None, :]
    return torch.polar(torch.ones_like(angle), angle)


def half_plane_phases(shifts_px: Shifts, box: int) -> Complex[Tensor, "n y half_x"]:
    """``exp(−2πi k·t / box)``: multiplying a centred image's half plane moves its content by ``+t`` pixels.

    The factors of the two axes are computed apart and multiplied, which needs ``2·box`` exponentials, not ``box²/2``.
    The Nyquist line of an even box keeps its real part only, so that a shifted real image stays real.
    """
    kx, ky = half_plane_indices(box, shifts_px.device)
    boxes = shifts_px / box
    phase_x, phase_y = _axis_phases(boxes[:, 0], kx[0]), _axis_phases(boxes[:, 1], ky[:, 0])
    if box % 2 == 0:
        phase_x, phase_y = _real_at(phase_x, box // 2), _real_at(phase_y, box // 2)
    return phase_y[:, :, None] * phase_x[:, None, :]


def _real_at(phases: Tensor, column: int) -> Tensor:
    """Drop the imaginary part of one column, without editing in place: gradients pass through."""
    keep = torch.ones(phases.shape[1], dtype=phases.real.dtype, device=phases.device)
    keep[column] = 0
    return torch.complex(phases.real, phases.imag * keep)


def disc_phases(shifts_px: Shifts, disc: Disc, count: int | None = None) -> Complex[Tensor, "n k"]:
    """``exp(−2πi k·t / box)`` on the first ``count`` coefficients of a disc; ``t`` in pixels of the disc's box."""
    kx, ky = disc.kx[:count].to(shifts_px), disc.ky[:count].to(shifts_px)
    angle = (-2 * math.pi / disc.box) * (shifts_px[:, :1] * kx + shifts_px[:, 1:] * ky)
    return torch.polar(torch.ones_like(angle), angle)
