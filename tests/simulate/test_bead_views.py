"""Projections of points equal the sum that defines them, and what the rest of the package calls an image."""

import math

import pytest
import torch

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.shifts import half_plane_phases
from vitreous.simulate.bead_views import project_beads

BOXES = [16, 17]


def scene(generator: torch.Generator, spread: float = 0.12) -> tuple[torch.Tensor, ...]:
    beads = spread * torch.randn(2, 30, 3, generator=generator)
    weights = torch.rand(2, 30, generator=generator)
    rotations = random_rotations(6, generator).unflatten(0, (2, 3))
    return beads, weights, rotations, 0.05 * torch.randn(2, 3, 2, generator=generator)


@pytest.mark.parametrize("box", BOXES)
def test_transform_is_the_sum_over_points(box: int, generator: torch.Generator) -> None:
    beads, weights, rotations, shifts = scene(generator)
    found = project_beads(beads, weights, rotations, shifts, box)
    kx, ky = (k.double() for k in half_plane_indices(box))
    for b in range(2):
        for n in range(3):
            placed = (beads[b].double() @ rotations[b, n].double().T)[:, :2] + shifts[b, n].double()
            phase = placed[:, 0, None, None] * kx + placed[:, 1, None, None] * ky
            expected = (weights[b].double()[:, None, None] * torch.exp(-2j * math.pi * phase)).sum(0)
            torch.testing.assert_close(found[b, n].to(expected.dtype), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("box", BOXES)
def test_shift_is_a_phase(box: int, generator: torch.Generator) -> None:
    beads, weights, rotations, shifts = scene(generator)
    moved = project_beads(beads, weights, rotations, shifts, box)
    phases = half_plane_phases(shifts.flatten(0, 1) * box, box).view_as(moved)
    still = project_beads(beads, weights, rotations, torch.zeros_like(shifts), box)
    inside = [k.abs() < box / 2 for k in half_plane_indices(box)]  # at Nyquist, real images keep half of the phase
    inside = inside[0] & inside[1]
    torch.testing.assert_close((still * phases)[..., inside], moved[..., inside], atol=1e-4, rtol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_blurred_points_are_gaussians_on_the_pixels(box: int, generator: torch.Generator) -> None:
    sigma = 0.05
    beads, weights, rotations, shifts = scene(generator, spread=0.07)
    placed = torch.einsum("bnij,bkj->bnki", rotations[:, :, :2], beads) + shifts[:, :, None]
    axis = (torch.arange(box) - box // 2) / box
    x, y = (torch.exp(-((axis - placed[..., i, None]) ** 2) / (2 * sigma**2)) for i in (0, 1))
    images = torch.einsum("bk,bnky,bnkx->bnyx", weights, y, x) / (2 * math.pi * sigma**2 * box**2)
    kx, ky = half_plane_indices(box)
    blur = torch.exp(-2 * (math.pi * sigma) ** 2 * (kx.square() + ky.square()))
    found = project_beads(beads, weights, rotations, shifts, box) * blur
    torch.testing.assert_close(found, rfft2_centred(images), atol=2e-4, rtol=0)


def test_turned_particle_seen_from_the_turned_side_looks_the_same(generator: torch.Generator) -> None:
    beads, weights, rotations, shifts = scene(generator)
    Q = random_rotations(1, generator)[0]
    torch.testing.assert_close(
        project_beads(beads @ Q.T, weights, rotations @ Q.T, shifts, 16),
        project_beads(beads, weights, rotations, shifts, 16),
        atol=1e-4,
        rtol=0,
    )
