"""Particles that move in closed form: three blobs are fixed, a fourth goes round a circle about z."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitreous.data import ArraySource, Optics, Particles, Poses, Volume
from vitreous.geometry.rotations import random_rotations

PIXEL_SIZE_A = 4.0
SIGMA_PX = 1.3
FIXED_PX = torch.tensor([[0.0, 0, 0], [2.5, -1, 2], [-1, -2, -2.5]])


@dataclass(frozen=True)
class Scene:
    """Particles and the angle of the moving blob of each, in radians."""

    particles: Particles
    angles: Tensor


def centres_px(angle: float) -> Tensor:
    moving = torch.tensor([[3.5 * math.cos(angle), 3.5 * math.sin(angle), 0.5]])
    return torch.cat([FIXED_PX, moving])


def blob_map(angle: float, box: int) -> Volume:
    """Map whose projections are blobs of height 1."""
    axis = torch.arange(box) - box // 2
    x, y, z = (torch.exp(-((axis - centres_px(angle)[:, i : i + 1]) ** 2) / (2 * SIGMA_PX**2)) for i in range(3))
    width = math.sqrt(2 * math.pi) * SIGMA_PX
    return Volume(torch.einsum("pz,py,px->zyx", z, y, x) / width, PIXEL_SIZE_A)


def moving_blobs(n: int, box: int = 16, noise: float = 1.0, *, arc: float = 2 * math.pi, seed: int = 0) -> Scene:
    """Three times the projections, with random poses and shifts, no CTF, noise of σ ``noise``; angles uniform."""
    generator = torch.Generator().manual_seed(seed)
    rotations = random_rotations(n, generator).float()
    shifts_px = torch.randn(n, 2, generator=generator) * 0.7
    angles = torch.rand(n, generator=generator) * arc
    centres = torch.stack([centres_px(float(angle)) for angle in angles])
    placed = torch.einsum("nij,nbj->nbi", rotations, centres)[..., :2] + shifts_px[:, None]
    axis = torch.arange(box) - box // 2
    x, y = (torch.exp(-((axis - placed[..., i, None]) ** 2) / (2 * SIGMA_PX**2)) for i in range(2))
    images = 3 * torch.einsum("nby,nbx->nyx", y, x) + noise * torch.randn(n, box, box, generator=generator)
    ids = np.array([f"{i + 1}@blobs.mrcs" for i in range(n)])
    poses = Poses(rotations, shifts_px * PIXEL_SIZE_A)
    return Scene(Particles(ArraySource(images, PIXEL_SIZE_A), Optics.without_ctf(n), ids, poses), angles)
