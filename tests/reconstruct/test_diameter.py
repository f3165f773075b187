"""The diameter of particles whose size is known."""

import numpy as np
import pytest
import torch

from tests.crosscheck.relion import varied_optics
from vitreous.data import ArraySource, Optics, Particles, Poses
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.diameter import estimate_diameter_A
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import Phantom
from vitreous.typing import Images

BOX = 64


def particles_of(images: Images, optics: Optics, pixel_size_A: float) -> Particles:
    ids = np.array([f"{i + 1:06d}@stack.mrcs" for i in range(len(images))])
    return Particles(ArraySource(images, pixel_size_A), optics, ids)


@pytest.mark.parametrize("pixel_size_A", [3.2, 4.2, 5.5])
@pytest.mark.parametrize("snr", [0.3, 0.05])
def test_diameter_of_the_phantom_within_a_tenth(pixel_size_A: float, snr: float) -> None:
    """Twice the distance of the outermost atom from the centre: 182 Å, which fills 0.9 to 0.5 of the box."""
    n = 600
    atoms = Phantom().atoms()
    density = atoms_to_density(atoms, DensityGrid(BOX, pixel_size_A, 2.2 * pixel_size_A)).values.float()
    generator = torch.Generator().manual_seed(1)
    shifts_A = 2 * pixel_size_A * (2 * torch.rand(n, 2, generator=generator) - 1)
    optics = varied_optics(n)
    poses = Poses(random_rotations(n, generator), shifts_A)
    images = render(FourierVolume.from_map(density), poses, optics, pixel_size_A)
    images = images * float((snr / images.var()).sqrt()) + torch.randn(images.shape, generator=generator)
    found, seen = estimate_diameter_A(particles_of(images, optics, pixel_size_A))
    true = 2 * float((atoms.xyz_A - atoms.xyz_A.mean(0)).norm(dim=1).max())
    assert seen
    assert found == pytest.approx(true, rel=0.1)


def test_noise_shows_no_edge() -> None:
    images = torch.randn(200, BOX, BOX, generator=torch.Generator().manual_seed(5))
    found, seen = estimate_diameter_A(particles_of(images, varied_optics(200), 3.0))
    assert not seen
    assert found == pytest.approx(0.75 * BOX * 3.0)
