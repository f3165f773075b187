"""The ray projector against projections known in closed form and against the Fourier-slice projector."""

import pytest
import torch

from tests.physics.blobs import make_blobs, relative_error
from vitreous.fourier.transform import irfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.rays import backproject_rays, project_rays
from vitreous.physics.slices import FourierVolume


@pytest.mark.parametrize("box", [32, 33])
def test_images_of_blobs_are_sums_of_gaussians(box: int, generator: torch.Generator) -> None:
    """Trilinear sampling blurs by about a third of a voxel: what is left falls with the width of the blobs."""
    R = random_rotations(6, generator)
    none = torch.zeros(6, 2)
    errors = []
    for sigma in (1.6, 3.2):
        blobs = make_blobs(box, sigma=sigma)
        errors.append(relative_error(project_rays(blobs.map(box).float(), R), blobs.projections(R, none, box)))
    assert errors[0] < 0.05
    assert errors[1] < 0.35 * errors[0]


@pytest.mark.parametrize("box", [16, 17])
def test_without_rotation_rays_sum_columns(box: int, generator: torch.Generator) -> None:
    values = torch.randn(box, box, box, generator=generator, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)[None]
    assert relative_error(project_rays(values, eye)[0], values.sum(0)) < 1e-12
    images = torch.randn(1, box, box, generator=generator, dtype=torch.float64)
    assert relative_error(backproject_rays(images, eye), images.expand(box, box, box)) < 1e-12


@pytest.mark.parametrize("box", [32, 33])
def test_rays_and_slices_agree(box: int, generator: torch.Generator) -> None:
    values = make_blobs(box, sigma=2.5).map(box).float()
    R = random_rotations(6, generator)
    slices = irfft2_centred(FourierVolume.from_map(values, 4).slices(R), box)
    assert relative_error(project_rays(values, R), slices) < 0.03


def test_gradients_equal_finite_differences(generator: torch.Generator) -> None:
    values = make_blobs(9, sigma=1.5).map(9).requires_grad_()
    R = random_rotations(2, generator).double().requires_grad_()
    assert torch.autograd.gradcheck(project_rays, (values, R), fast_mode=True, atol=1e-4)
