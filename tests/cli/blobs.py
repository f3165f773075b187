"""Particles whose map is known in closed form: Gaussian blobs project to Gaussian blobs."""

from pathlib import Path

import numpy as np
import torch

from vitreous.data import Optics, Particles, Poses, Volume
from vitreous.geometry.rotations import random_rotations
from vitreous.io import open_particles, write_relion_star
from vitreous.io.stack_writer import StackWriter

BOX, PIXEL_SIZE_A, SIGMA_PX = 32, 3.0, 1.6
CENTRES_PX = torch.tensor([[5.0, 0, 0], [-3, 4, 1], [0, -5, 3], [1, 2, -6], [-4, -2, -3]])
"""``(x, y, z)`` relative to the centre of the box."""


def blob_map() -> Volume:
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance2 = sum((grid[..., None] - CENTRES_PX[:, i]) ** 2 for i, grid in enumerate((x, y, z)))
    return Volume(torch.exp(-distance2 / (2 * SIGMA_PX**2)).sum(-1), PIXEL_SIZE_A)


def write_blob_particles(folder: Path, n: int = 400, seed: int = 0) -> Path:
    """Write ``particles.star`` and ``particles.mrcs`` with known poses and a real CTF of 1."""
    generator = torch.Generator().manual_seed(seed)
    rotations = random_rotations(n, generator)
    shifts_px = 2 * torch.randn(n, 2, generator=generator)
    centres = torch.einsum("nij,bj->nbi", rotations, CENTRES_PX.to(rotations.dtype))[..., :2] + shifts_px[:, None]
    axis = torch.arange(BOX) - BOX // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    distance2 = (x[None, None] - centres[..., 0, None, None]) ** 2 + (y[None, None] - centres[..., 1, None, None]) ** 2
    images = torch.exp(-distance2 / (2 * SIGMA_PX**2)).sum(1).float()
    images += 0.2 * torch.randn(images.shape, generator=generator)
    with StackWriter(folder / "particles.mrcs", n, BOX, PIXEL_SIZE_A) as stack:
        stack.append(images)
    ids = np.array([f"{i + 1:06d}@particles.mrcs" for i in range(n)])
    star = folder / "particles.star"

    class OnDisk:
        box, pixel_size_A = BOX, PIXEL_SIZE_A

        def __len__(self) -> int:
            return n

        def read(self, indices):
            return images[indices]

    particles = Particles(OnDisk(), Optics.without_ctf(n), ids, Poses(rotations, shifts_px * PIXEL_SIZE_A))
    write_relion_star(star, particles)
    return star


__all__ = ["BOX", "PIXEL_SIZE_A", "blob_map", "open_particles", "write_blob_particles"]
