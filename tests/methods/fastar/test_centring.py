"""Rough centring: known shifts of clean structures come back, and go with the images."""

import pytest
import torch

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.centring import centre_shifts, shift_phases
from vitreous.methods.fastar.scenes import Scenes, normalised
from vitreous.physics.shifts import half_plane_phases
from vitreous.simulate.bead_views import project_beads

BOX = 32


def globule(b: int, generator: torch.Generator) -> Scenes:
    """Round structures with bumps, a dent and an axis of their own."""
    directions = torch.nn.functional.normalize(torch.randn(b, 400, 3, generator=generator), dim=-1)
    bumps = torch.randn(b, 3, 6, generator=generator)
    radius = 1 + 0.15 * torch.sin(2 * directions @ bumps).sum(-1, keepdim=True).clamp(-3, 3) / 3
    points = directions * radius * torch.rand(b, 400, 1, generator=generator) ** (1 / 3)
    stretch = torch.tensor([1.2, 1.0, 0.8])
    return normalised(points * stretch, 0.5 + torch.rand(b, 400, generator=generator))


def images_of(shifts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Clean views at given places ``[b, n, 2]``, with a gentle fall-off."""
    b, n = shifts.shape[:2]
    scenes = globule(b, generator)
    rotations = random_rotations(b * n, generator).unflatten(0, (b, n))
    transforms = project_beads(scenes.beads, scenes.weights, rotations, shifts, BOX)
    transforms[..., 0, 0] = 0
    kx, ky = half_plane_indices(BOX)
    return irfft2_centred(transforms * torch.exp(-0.005 * (kx.square() + ky.square())), BOX)


@pytest.mark.parametrize("largest", [0.0, 0.05, 0.09])
def test_shifts_of_clean_structures_come_back(largest: float, generator: torch.Generator) -> None:
    shifts = largest * (2 * torch.rand(10, 8, 2, generator=generator) - 1)
    errors = (centre_shifts(images_of(shifts, generator)) - shifts).norm(dim=-1)
    assert float(errors.mean()) < 0.015
    assert float(errors.median()) < 0.012


def test_noise_does_not_move_the_centre_far(generator: torch.Generator) -> None:
    """A signal-to-noise ratio of 1.6 in these views is one of 0.1 in 128-px images."""
    shifts = 0.08 * (2 * torch.rand(4, 32, 2, generator=generator) - 1)
    images = images_of(shifts, generator)
    images = images * (1.6 / images.var((1, 2, 3), keepdim=True)).sqrt()
    noisy = images + torch.randn(images.shape, generator=generator)
    errors = (centre_shifts(noisy) - shifts).norm(dim=-1)
    assert float(errors.median()) < 0.025


@pytest.mark.parametrize("pixels", [(2, 0), (-1, 2)])
def test_shifts_go_with_the_images(pixels: tuple[int, int], generator: torch.Generator) -> None:
    images = images_of(torch.zeros(3, 8, 2), generator)
    moved = images.roll(pixels, (-1, -2))
    left = centre_shifts(moved) - centre_shifts(images) - torch.tensor(pixels) / BOX
    assert float(left.norm(dim=-1).median()) < 2e-3  # a view in ten ends elsewhere: the peak is flat


def test_scale_does_not_matter(generator: torch.Generator) -> None:
    images = images_of(0.05 * torch.randn(2, 8, 2, generator=generator).clamp(-1, 1), generator)
    torch.testing.assert_close(centre_shifts(1e3 * images), centre_shifts(images), atol=1e-4, rtol=0)


def test_blank_views_are_survived(generator: torch.Generator) -> None:
    images = images_of(torch.zeros(2, 8, 2), generator)
    images[0] = 0
    images[1, 3] = 0
    found = centre_shifts(images)
    assert torch.isfinite(found).all()
    assert found.norm(dim=-1).max() <= 0.14 + 1 / BOX


@pytest.mark.parametrize("box", [16, 17])
def test_phases_are_those_of_the_physics(box: int, generator: torch.Generator) -> None:
    shifts = 0.1 * torch.randn(4, 2, generator=generator)
    kx, ky = half_plane_indices(box)
    inside = (kx < box / 2) & (ky.abs() < box / 2)
    expected = half_plane_phases(shifts * box, box)
    torch.testing.assert_close(shift_phases(shifts, box)[:, inside], expected[:, inside], atol=1e-5, rtol=0)
    image = torch.randn(1, box, box, generator=generator)
    whole = irfft2_centred(rfft2_centred(image) * shift_phases(torch.tensor([[3 / box, -2 / box]]), box), box)
    torch.testing.assert_close(whole, image.roll((3, -2), (-1, -2)), atol=1e-5, rtol=0)


def test_images_are_left_as_they_were(generator: torch.Generator) -> None:
    images = torch.randn(1, 4, BOX, BOX, generator=generator)
    before = images.clone()
    centre_shifts(images)
    assert torch.equal(images, before)
