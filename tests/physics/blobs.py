"""A map whose projections are known in closed form: a sum of Gaussians projects to a sum of Gaussians."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Blobs:
    """Spherical Gaussians of standard deviation ``sigma`` at ``centres [b, 3]`` (x, y, z), voxels from the centre."""

    centres: Tensor
    weights: Tensor
    sigma: float

    def map(self, box: int) -> Tensor:
        """Density at the voxel centres, ``[z, y, x]`` float64."""
        axis = torch.arange(box, dtype=torch.float64) - box // 2
        factors = [torch.exp(-((axis - self.centres[:, i, None]) ** 2) / (2 * self.sigma**2)) for i in range(3)]
        return torch.einsum("b,bz,by,bx->zyx", self.weights, factors[2], factors[1], factors[0])

    def rotated(self, rotation: Tensor) -> "Blobs":
        """The same particle after ``r → R r``."""
        return Blobs(self.centres @ rotation.double().T, self.weights, self.sigma)

    def projections(self, rotations: Tensor, shifts_px: Tensor, box: int) -> Tensor:
        """Line integrals along lab z of the rotated, shifted particle, ``[n, y, x]`` float64; the box is periodic."""
        lab = torch.einsum("nij,bj->nbi", rotations.double(), self.centres)[..., :2] + shifts_px.double()[:, None]
        axis = torch.arange(box, dtype=torch.float64) - box // 2
        x, y = (self._profile(axis - lab[..., i, None], box) for i in range(2))
        return math.sqrt(2 * math.pi) * self.sigma * torch.einsum("b,nby,nbx->nyx", self.weights, y, x)

    def _profile(self, distance: Tensor, box: int) -> Tensor:
        return sum(torch.exp(-((distance + wrap) ** 2) / (2 * self.sigma**2)) for wrap in (-box, 0, box))

    def slice(self, q_per_voxel: Tensor) -> Tensor:
        """Transform of the continuous density at particle frequencies ``[..., 3]`` (x, y, z) in cycles per voxel."""
        phase = -2 * math.pi * (q_per_voxel.double() @ self.centres.T)
        waves = torch.polar(self.weights.expand_as(phase), phase).sum(-1)
        norm = (2 * math.pi * self.sigma**2) ** 1.5
        return norm * torch.exp(-2 * (math.pi * self.sigma) ** 2 * q_per_voxel.double().square().sum(-1)) * waves


def make_blobs(box: int, n: int = 6, sigma: float = 1.6, seed: int = 0) -> Blobs:
    """Blobs of unequal weight inside a fifth of the box about its centre: asymmetric, and never cut by rotation."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    lengths = torch.linspace(0.4, 1.0, n, dtype=torch.float64) * 0.22 * box
    centres = directions / directions.norm(dim=1, keepdim=True) * lengths[:, None]
    return Blobs(centres, torch.linspace(0.5, 1.5, n, dtype=torch.float64), sigma)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what was expected."""
    return float((found - expected).norm() / expected.norm())
