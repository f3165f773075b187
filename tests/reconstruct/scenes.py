"""Particles whose map and poses are known: blobs, seen without noise or with white noise of σ 1."""

from dataclasses import dataclass

import numpy as np
import torch

from tests.laws.test_projectors import some_optics
from tests.physics.blobs import Blobs, make_blobs
from vitreous.data import ArraySource, Optics, Particles, Poses
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.typing import Map

PIXEL_SIZE_A = 3.0


@dataclass(frozen=True)
class Scene:
    """Particles with the map that made them, scaled as in the images."""

    particles: Particles
    truth: Map
    poses: Poses


def make_scene(
    n: int,
    box: int = 32,
    *,
    snr: float | None = None,
    optics: Optics | None = None,
    blobs: Blobs | None = None,
    seed: int = 0,
) -> Scene:
    """Images of blobs with shifts of ± 2 px; ``snr`` None leaves out the noise, otherwise σ is 1."""
    generator = torch.Generator().manual_seed(seed)
    truth = (blobs or make_blobs(box, sigma=1.3)).map(box).float()
    shifts_A = 2 * PIXEL_SIZE_A * (2 * torch.rand(n, 2, generator=generator) - 1)
    poses = Poses(random_rotations(n, generator), shifts_A)
    used = some_optics(n) if optics is None else optics
    images = render(FourierVolume.from_map(truth), poses, used, PIXEL_SIZE_A)
    if snr is not None:
        scale = float((snr / images.var()).sqrt())
        truth, images = truth * scale, images * scale + torch.randn(images.shape, generator=generator)
    ids = np.array([f"{i + 1:06d}@scene.mrcs" for i in range(n)])
    return Scene(Particles(ArraySource(images, PIXEL_SIZE_A), used, ids, poses), truth, poses)
