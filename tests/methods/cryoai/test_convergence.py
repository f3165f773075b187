"""Poses from images alone: what one pose per image does not find, several do."""

import numpy as np
import pytest
import torch

from tests.methods.cryoai.test_method import InMemory
from tests.methods.moving_blobs import ArraySource
from vitreous.compute.progress import SilentProgress
from vitreous.data import Optics, Particles, Poses
from vitreous.evaluate.poses import PoseErrors, compare_poses
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.method import CryoAI

BOX, PIXEL_SIZE_A = 20, 4.0


def ideal_blobs(n: int) -> Particles:
    """Projections of eight blobs without a mirror plane, from all sides, without noise, CTF or shifts."""
    generator = torch.Generator().manual_seed(3)
    centres = (torch.rand(8, 3, generator=generator) - 0.5) * 0.55 * BOX
    weights = 0.5 + torch.rand(8, generator=generator)
    rotations = random_rotations(n, generator).float()
    placed = torch.einsum("nij,bj->nbi", rotations, centres)[..., :2]
    axis = torch.arange(BOX) - BOX // 2
    x, y = (torch.exp(-((axis - placed[..., i, None]) ** 2) / (2 * 1.5**2)) for i in range(2))
    images = torch.einsum("b,nby,nbx->nyx", weights, y, x)
    ids = np.array([f"{i + 1}@blobs.mrcs" for i in range(n)])
    return Particles(ArraySource(images, PIXEL_SIZE_A), Optics.without_ctf(n), ids, Poses(rotations, torch.zeros(n, 2)))


def poses_found(particles: Particles, heads: int) -> PoseErrors:
    torch.manual_seed(1)
    config = CryoAIConfig(
        heads=heads,
        loss="symmetric",
        encoder_width=512,
        steps=500,
        round_steps=100,
        march_from=4.0,
        march_steps=500,
        shift_range=0.0,
    )
    found = CryoAI(config, seed=1).propose(particles, SilentProgress(), InMemory().train)
    assert particles.poses is not None
    return compare_poses(found.poses, particles.poses, PIXEL_SIZE_A)


@pytest.mark.slow
def test_several_heads_find_poses_where_one_gathers() -> None:
    particles = ideal_blobs(3000)
    several, one = (poses_found(particles, heads) for heads in (7, 1))
    # of random poses 0.01 % are within 10 degrees
    assert several.within_10_deg > 0.2 > 0.1 > one.within_10_deg
    assert several.median_deg < 60 < one.median_deg
