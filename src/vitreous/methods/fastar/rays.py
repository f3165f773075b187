"""Rays of the polar Fourier transforms of a set of views, whitened over the set."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.geometry.planar_maps import line_angles
from vitreous.typing import Float

CORRELATION = 4.0
"""What correlation coefficients are multiplied by before linear layers see them: chance is then about 1."""


@dataclass(frozen=True)
class Rays:
    """Rays over the full circle, real and imaginary part.

    Attributes
    ----------
    raw
        As they are ``[b, n, r, s, 2]``.
    mean, scale
        What is taken off each shell, and what it is multiplied by then ``[b, 1, 1, s, 2]``.
    """

    raw: Float[Tensor, "b n r s 2"]
    mean: Float[Tensor, "b 1 1 s 2"]
    scale: Float[Tensor, "b 1 1 s 2"]

    def whitened(self) -> Float[Tensor, "b n r s 2"]:
        """Return the rays with mean and power of each shell taken off."""
        return (self.raw - self.mean) * self.scale

    def recentred(self, shifts: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n r s 2"]:
        """Return the whitened rays of views whose shifts, in units of the field, are taken back."""
        angles = line_angles(self.raw.shape[2]).to(shifts)
        along = shifts[..., :1] * angles.cos() + shifts[..., 1:] * angles.sin()
        phase = 2 * math.pi * along[..., None] * torch.arange(1, self.raw.shape[3] + 1, device=shifts.device)
        turned = torch.view_as_complex(self.raw.contiguous()) * torch.polar(torch.ones_like(phase), phase)
        return (torch.view_as_real(turned) - self.mean) * self.scale

    def views(self, rows: slice) -> "Rays":
        """Return some of the views."""
        return Rays(self.raw[:, rows], self.mean, self.scale)

    def expand(self, sets: int) -> "Rays":
        """Return the views of one set as those of several."""
        return Rays(*(getattr(self, name).expand(sets, -1, -1, -1, -1) for name in ("raw", "mean", "scale")))
