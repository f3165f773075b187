"""The composed image model against its steps taken one by one, and its gradients against finite differences."""

from collections.abc import Callable

import pytest
import torch

from tests.laws.test_projectors import some_optics
from tests.physics.blobs import make_blobs, relative_error
from vitreous.data import Poses
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.rotations import random_rotations, rotation_from_vector
from vitreous.physics.ctf import ctf_half_plane
from vitreous.physics.image_model import render, render_transforms
from vitreous.physics.rays import project_rays
from vitreous.physics.slices import FourierVolume

PIXEL_SIZE_A = 2.5


@pytest.mark.parametrize("box", [32, 33])
def test_rendering_is_projection_then_shift_then_ctf(box: int, generator: torch.Generator) -> None:
    """Each step by other means: closed-form shifted projections, full-plane CTF in float64."""
    blobs = make_blobs(box)
    shifts_px = 2 * torch.randn(3, 2, generator=generator)
    poses = Poses(random_rotations(3, generator), shifts_px * PIXEL_SIZE_A)
    optics = some_optics(3)
    found = render(FourierVolume.from_map(blobs.map(box).float(), 4), poses, optics, PIXEL_SIZE_A)
    clean = blobs.projections(poses.rotations, shifts_px, box)
    expected = irfft2_centred(rfft2_centred(clean) * ctf_half_plane(optics, box, PIXEL_SIZE_A).double(), box)
    assert found.shape == (3, box, box)
    assert relative_error(found.double(), expected) < 0.01
    by_rays = project_rays(blobs.map(box).float(), poses.rotations)
    assert relative_error(by_rays, blobs.projections(poses.rotations, torch.zeros(3, 2), box)) < 0.06


@pytest.mark.parametrize("box", [16, 17])
def test_shifts_are_in_angstrom(box: int, generator: torch.Generator) -> None:
    volume = FourierVolume.from_map(make_blobs(box).map(box).float())
    R = random_rotations(2, generator)
    optics = some_optics(2)
    still = render(volume, Poses(R, torch.zeros(2, 2)), optics, PIXEL_SIZE_A)
    moved = render(
        volume, Poses(R, torch.tensor([[PIXEL_SIZE_A, 0.0], [0.0, -2 * PIXEL_SIZE_A]])), optics, PIXEL_SIZE_A
    )
    torch.testing.assert_close(moved[0], still[0].roll(1, 1), atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[1], still[1].roll(-2, 0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("box", [16, 17])
def test_gradients_of_poses_equal_finite_differences(box: int, generator: torch.Generator) -> None:
    """Central differences in float64; trilinear slices have kinks, so a small step is taken between grid planes."""
    volume = FourierVolume.from_map(make_blobs(box).map(box))
    R = random_rotations(3, generator).double()
    weight = torch.randn(3, box, box, generator=generator, dtype=torch.float64)
    optics = some_optics(3)

    def loss(turn: torch.Tensor, shifts_A: torch.Tensor) -> torch.Tensor:
        return (render(volume, Poses(rotation_from_vector(turn) @ R, shifts_A), optics, PIXEL_SIZE_A) * weight).sum()

    start = [torch.full((3, n), 0.01, dtype=torch.float64).requires_grad_() for n in (3, 2)]
    found = torch.autograd.grad(loss(*start), start)
    for which, gradient in enumerate(found):
        expected = finite_differences(loss, start, which)
        assert relative_error(gradient, expected) < 1e-4


def finite_differences(
    loss: Callable[..., torch.Tensor], at: list[torch.Tensor], which: int, step: float = 1e-6
) -> torch.Tensor:
    out = torch.zeros_like(at[which])
    for index in range(out.numel()):
        values = []
        for sign in (1, -1):
            moved = [part.detach().clone() for part in at]
            moved[which].view(-1)[index] += sign * step
            values.append(float(loss(*moved)))
        out.view(-1)[index] = (values[0] - values[1]) / (2 * step)
    return out


@pytest.mark.parametrize("box", [16, 17])
def test_transforms_and_images_are_one(box: int, generator: torch.Generator) -> None:
    volume = FourierVolume.from_map(make_blobs(box).map(box).float())
    poses = Poses(random_rotations(2, generator), torch.randn(2, 2, generator=generator))
    images = render(volume, poses, some_optics(2), PIXEL_SIZE_A)
    transforms = render_transforms(volume, poses, some_optics(2), PIXEL_SIZE_A)
    torch.testing.assert_close(rfft2_centred(images), transforms, atol=1e-4, rtol=1e-4)
