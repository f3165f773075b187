"""Radial lines of the Fourier transform of small images, exactly, as one matrix product."""

from functools import lru_cache

import torch
from torch import Tensor

from vitreous.typing import Complex, Float


@lru_cache(maxsize=8)
def polar_matrix(box: int, lines: int, shells: int) -> Float[Tensor, "pixels coefficients"]:
    """Matrix from the pixels of a ``box × box`` image to ``lines/2 · shells`` complex coefficients, scaled by 1/box.

    Lines are evenly spaced over the half circle from angle 0 and shells are the radii 1 … ``shells`` in units of one
    over the field. Columns hold real and imaginary part in turn; white noise of unit variance gives every
    coefficient unit power.
    """
    axis = (torch.arange(box) - box // 2).double() / box
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angles = torch.pi * torch.arange(lines // 2).double() / (lines // 2)
    along = x.reshape(-1, 1) * angles.cos() + y.reshape(-1, 1) * angles.sin()
    phases = -2 * torch.pi * along[..., None] * torch.arange(1, shells + 1)
    return (torch.stack([phases.cos(), phases.sin()], -1).reshape(box * box, -1) / box).float()


def radial_lines(
    images: Float[Tensor, "*b y x"], matrix: Float[Tensor, "pixels coefficients"], shells: int
) -> Complex[Tensor, "*b lines shells"]:
    """Fourier coefficients along rays over the full circle; the second half is the first's conjugate."""
    with torch.autocast(images.device.type, enabled=False):  # strong and weak shells come out of one sum
        flat = images.flatten(-2).float() @ matrix
    half = torch.view_as_complex(flat.unflatten(-1, (-1, shells, 2)).contiguous())
    return torch.cat([half, half.conj()], -2)
