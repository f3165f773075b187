"""Frequencies of the half plane and half space, and the disc of coefficients that a method works on."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vitreous.typing import Float, Int


def half_plane_indices(box: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Integer frequencies ``(kx, ky)``, each ``[box, box // 2 + 1]``, of :func:`rfft2_centred`'s output."""
    ky = torch.fft.fftfreq(box, 1 / box, device=device)
    kx = torch.arange(box // 2 + 1, device=device, dtype=ky.dtype)
    grid_y, grid_x = torch.meshgrid(ky, kx, indexing="ij")
    return grid_x.contiguous(), grid_y.contiguous()


def half_space_radii(box: int, device: torch.device | str = "cpu") -> Float[Tensor, "z y half_x"]:
    """Radii, in voxels of frequency, of :func:`rfft3_centred`'s output."""
    k = torch.fft.fftfreq(box, 1 / box, device=device)
    kx = torch.arange(box // 2 + 1, device=device, dtype=k.dtype)
    return torch.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx**2)


@dataclass(frozen=True)
class Disc:
    """The independent half-plane coefficients inside a radius, sorted by radius.

    One of every Friedel pair is kept (``kx > 0``, or ``kx = 0`` and ``ky ≥ 0``), so that a resolution cut is a
    prefix of every array: ``values[..., : disc.count(radius)]``.

    Attributes
    ----------
    box
        Side of the images in pixels; frequencies are in units of ``1 / (box · pixel size)``.
    kx, ky
        Integer frequencies as float32 ``[k]``.
    radius
        ``hypot(kx, ky)``, ascending.
    shell
        Shell of each coefficient: ``floor(radius + ½)``.
    flat
        Index of each coefficient in the flattened half plane of :func:`rfft2_centred`.
    """

    box: int
    kx: Float[Tensor, " k"]
    ky: Float[Tensor, " k"]
    radius: Float[Tensor, " k"]
    shell: Int[Tensor, " k"]
    flat: Int[Tensor, " k"]

    def count(self, radius: float) -> int:
        """Return how many coefficients lie within ``radius`` (inclusive)."""
        return int(torch.searchsorted(self.radius, torch.tensor(float(radius) + 1e-4)))

    def gather(self, transforms: Tensor) -> Tensor:
        """Pick the disc from half-plane transforms ``[n, box, box // 2 + 1]`` → ``[n, k]``."""
        return transforms.reshape(*transforms.shape[:-2], -1)[..., self.flat]

    def scatter(self, values: Tensor) -> Tensor:
        """Put disc values ``[n, k]`` back into half planes ``[n, box, box // 2 + 1]``; the rest is zero.

        The Friedel mates on the column ``kx = 0`` are filled in.
        """
        half = self.box // 2 + 1
        out = values.new_zeros((*values.shape[:-1], self.box * half))
        out[..., self.flat] = values
        edge = (self.kx == 0) & (self.ky > 0)
        out[..., (self.box - self.ky[edge].long()) * half] = values[..., edge].conj()
        return out.reshape(*values.shape[:-1], self.box, half)


@lru_cache(maxsize=16)
def disc(box: int, max_radius: float) -> Disc:
    """Build the :class:`Disc` of ``max_radius`` for images of ``box`` pixels (cached)."""
    kx, ky = half_plane_indices(box)
    radius = torch.hypot(kx, ky)
    kept = ((kx > 0) | (ky >= 0)) & (radius <= max_radius + 1e-4) & (radius < box / 2)
    flat = torch.nonzero(kept.reshape(-1))[:, 0]
    flat = flat[torch.argsort(radius.reshape(-1)[flat], stable=True)]
    pick = radius.reshape(-1)[flat]
    return Disc(box, kx.reshape(-1)[flat], ky.reshape(-1)[flat], pick, torch.floor(pick + 0.5).long(), flat)
