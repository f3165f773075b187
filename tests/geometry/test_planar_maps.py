"""Planar maps place every Fourier coefficient of an image in the frame of the reference view."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.alignment import nearest_rotation
from vitreous.geometry.planar_maps import (
    line_angles,
    line_directions,
    mean_shift,
    nearest_rotations,
    pixel_coordinates,
    planar_map,
    relative_rotations,
    weighted_kabsch,
)
from vitreous.geometry.rotations import MIRROR, mirror_rotations, rotation_from_quaternion

GRIDS = {"pixels": pixel_coordinates(9), "lines": line_directions(line_angles(12))}


def poses(generator: torch.Generator, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    R = rotation_from_quaternion(torch.randn(n, 4, generator=generator).double())
    return R, 0.1 * torch.randn(n, 2, generator=generator).double()


@pytest.mark.parametrize("grid", GRIDS)
def test_map_of_the_reference_is_the_plane_moved_by_its_label(grid: str, generator: torch.Generator) -> None:
    R, t = poses(generator)
    X0 = GRIDS[grid].double()
    own = planar_map(relative_rotations(R), t, X0)[0]
    torch.testing.assert_close(own, X0 + torch.tensor([*t[0].tolist(), 0.0]))


@pytest.mark.parametrize("box", [32, 33])
def test_volume_in_the_frame_of_the_reference_gives_every_image_through_its_map(
    box: int, generator: torch.Generator
) -> None:
    """Gaussian blobs, whose images and whose transform are both known in closed form; the field has side 1."""
    sigma = 0.05
    R, t = poses(generator, 4)
    t = t.clamp(-0.1, 0.1)
    blobs = 0.09 * torch.randn(5, 3, generator=generator).double()
    axis = (torch.arange(box).double() - box // 2) / box
    projected = torch.einsum("nij,bj->nbi", R, blobs)[..., :2] + t[:, None]
    across = torch.exp(-((axis - projected[..., 0, None]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((axis - projected[..., 1, None]) ** 2) / (2 * sigma**2))
    images = torch.einsum("nby,nbx->nyx", down, across) / (2 * math.pi * sigma**2 * box**2)

    X0 = pixel_coordinates(box).double()
    h = torch.nn.functional.pad(t, (0, 1))
    slices = planar_map(relative_rotations(R), t, X0) - h[:, None]
    k = slices * box / 2  # the pixel grid spans [−1, 1]: frequencies ±box / 2
    turned = blobs @ R[0].T
    envelope = torch.exp(-2 * (math.pi * sigma) ** 2 * k.square().sum(-1))
    volume = envelope * torch.exp(-2j * math.pi * (k @ turned.T)).sum(-1)
    moved = volume * torch.exp(-1j * math.pi * box * (h @ X0.T))

    column, row = ((X0[:, i] * box / 2).round().long() for i in (0, 1))
    known = (column >= 0) & (X0.norm(dim=-1) < 0.99)
    expected = rfft2_centred(images)[:, row[known], column[known]]
    torch.testing.assert_close(moved[:, known], expected, atol=1e-5, rtol=0)


def test_points_of_a_line_lie_on_its_direction(generator: torch.Generator) -> None:
    R, t = poses(generator)
    radius = torch.tensor([0.25, 0.5, 1.0]).double()
    directions = GRIDS["lines"].double()
    at_one = planar_map(relative_rotations(R), torch.zeros_like(t), directions)
    placed = planar_map(relative_rotations(R), t, (radius[:, None, None] * directions).flatten(0, 1))
    h = torch.nn.functional.pad(t, (0, 1))[:, None, None]
    torch.testing.assert_close(placed.unflatten(1, (3, -1)), radius[:, None, None] * at_one[:, None] + h)


def test_mirrored_poses_give_the_mirrored_map(generator: torch.Generator) -> None:
    R, t = poses(generator)
    X0 = GRIDS["pixels"].double()
    maps = planar_map(relative_rotations(R), t, X0)
    of_mirrored = planar_map(relative_rotations(mirror_rotations(R)), t, X0)
    torch.testing.assert_close(of_mirrored, maps @ MIRROR.double())


@pytest.mark.parametrize("grid", GRIDS)
def test_kabsch_recovers_rotations_from_maps(grid: str, generator: torch.Generator) -> None:
    R, t = poses(generator)
    X0 = GRIDS[grid].double()
    relative = relative_rotations(R)
    weights = torch.rand(6, len(X0), generator=generator).double() + 0.01
    found = weighted_kabsch(planar_map(relative, torch.zeros_like(t), X0), X0.expand(6, -1, -1), weights)
    torch.testing.assert_close(found, relative, atol=1e-10, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_kabsch_agrees_with_scipy(mirrored: bool, generator: torch.Generator) -> None:
    sources = torch.randn(4, 20, 3, generator=generator).double()
    targets = sources @ poses(generator, 4)[0].mT
    targets = targets + 0.3 * torch.randn(4, 20, 3, generator=generator).double()
    if mirrored:
        targets = targets @ MIRROR.double()
    weights = torch.rand(4, 20, generator=generator).double()
    found = weighted_kabsch(targets, sources, weights)
    for Q, target, source, weight in zip(found, targets, sources, weights):
        expected, _ = Rotation.align_vectors(target.numpy(), source.numpy(), weights=weight.numpy())
        torch.testing.assert_close(Q, torch.from_numpy(expected.as_matrix()), atol=1e-9, rtol=0)


def test_kabsch_never_returns_a_reflection(generator: torch.Generator) -> None:
    sources = torch.randn(50, 8, 3, generator=generator)
    found = weighted_kabsch(-sources, sources, torch.ones(50, 8))
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(50))
    torch.testing.assert_close(found @ found.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)


def test_scale_of_the_confidences_does_not_matter(generator: torch.Generator) -> None:
    targets, sources = torch.randn(2, 3, 10, 3, generator=generator).double()
    weights = torch.rand(3, 10, generator=generator).double()
    for estimate in (lambda w: weighted_kabsch(targets, sources, w), lambda w: mean_shift(targets, w)):
        torch.testing.assert_close(estimate(1e3 * weights), estimate(weights))


@pytest.mark.parametrize("grid", GRIDS)
def test_shift_is_the_normalised_mean_of_the_map(grid: str, generator: torch.Generator) -> None:
    R, t = poses(generator)
    X0 = GRIDS[grid].double()
    maps = planar_map(relative_rotations(R), t, X0)
    assert X0.mean(0).abs().max() < 1e-6
    torch.testing.assert_close(mean_shift(maps, torch.full(maps.shape[:2], 7.0).double()), t, atol=1e-7, rtol=0)
    weights = torch.rand(maps.shape[:2], generator=generator).double()
    expected = [sum(w * x for w, x in zip(ws, xs)) / ws.sum() for ws, xs in zip(weights, maps[..., :2])]
    torch.testing.assert_close(mean_shift(maps, weights), torch.stack(expected))


def test_nearest_rotations_are_those_of_the_single_fit(generator: torch.Generator) -> None:
    matrices = torch.randn(20, 3, 3, generator=generator).double()
    found = nearest_rotations(matrices)
    torch.testing.assert_close(found, torch.stack([nearest_rotation(matrix) for matrix in matrices]))
    torch.testing.assert_close(nearest_rotations(found), found)
    others, _ = poses(generator, 1000)
    distance = (matrices[:, None] - others).flatten(-2).norm(dim=-1).amin(1)
    assert ((matrices - found).flatten(-2).norm(dim=-1) <= distance).all()
