"""HEALPix and SO(3) grids: equal area, symmetry, covering."""

import math

import numpy as np
import pytest
import torch

from vitreous.errors import ConfigError
from vitreous.geometry.grids import (
    healpix_directions,
    in_asymmetric_unit,
    local_so3_grid,
    rotations_around,
    so3_grid,
    so3_grid_for_spacing,
    viewing_directions,
)
from vitreous.geometry.rotations import random_rotations, rotation_angle_deg, rotation_from_vector
from vitreous.geometry.symmetry import point_group


def unit_vectors(theta: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
    return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)


def distance_to_nearest_deg(rotations: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    overlap = (rotations.double().flatten(1) @ grid.double().flatten(1).T).amax(1)
    return torch.rad2deg(torch.acos(((overlap - 1) / 2).clamp(-1, 1)))


def test_the_twelve_base_pixels() -> None:
    """Górski et al. 2005: base pixels at z = ±2/3 (φ = 45° + 90°k) and on the equator (φ = 90°k)."""
    theta, phi = healpix_directions(1)
    torch.testing.assert_close(theta.cos(), torch.tensor([2 / 3] * 4 + [0.0] * 4 + [-2 / 3] * 4).double())
    quarter = torch.tensor([0.0, 90, 180, 270]).double()
    torch.testing.assert_close(torch.rad2deg(phi), torch.cat([quarter + 45, quarter, quarter + 45]))


@pytest.mark.parametrize("nside", [1, 2, 3, 5, 16])
def test_pixels_have_the_moments_of_the_sphere(nside: int) -> None:
    """Equal areas: the mean of z vanishes, that of x x^T is 1/3 up to the discretisation, and pixels are distinct."""
    points = unit_vectors(*healpix_directions(nside))
    assert points.shape == (12 * nside**2, 3)
    torch.testing.assert_close(points.mean(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    second = points.T @ points / len(points)
    torch.testing.assert_close(second, torch.eye(3).double() / 3, atol=0.04 / nside**2, rtol=0)
    apart = torch.cdist(points, points) + 9 * torch.eye(len(points)).double()
    assert apart.min() > 0.5 * math.sqrt(math.pi / 3) / nside


@pytest.mark.parametrize("nside", [2, 4, 7])
def test_voronoi_cells_hold_equal_shares(nside: int, generator: torch.Generator) -> None:
    """Random directions fall on all pixels alike; cells differ from pixels by a few per cent."""
    grid = unit_vectors(*healpix_directions(nside))
    directions = torch.nn.functional.normalize(torch.randn(60_000, 3, generator=generator).double(), dim=-1)
    counts = torch.bincount((directions @ grid.T).argmax(1), minlength=len(grid)).double()
    expected = 60_000 / len(grid)
    assert (counts / expected - 1).square().mean().sqrt() < 0.12 + expected**-0.5


def test_rings_agree_with_healpy() -> None:
    healpy = pytest.importorskip("healpy", reason="healpy is not installed")
    for nside in (1, 3, 8):
        theta, phi = healpy.pix2ang(nside, np.arange(12 * nside**2))
        np.testing.assert_allclose(healpix_directions(nside)[0].numpy(), theta, atol=1e-12)
        np.testing.assert_allclose(healpix_directions(nside)[1].numpy(), phi, atol=1e-12)


@pytest.mark.parametrize("spacing", [30.0, 15.0, 11.0])
def test_so3_grid_covers_evenly(spacing: float, generator: torch.Generator) -> None:
    """Every rotation has a neighbour within the half diagonal of a cell, and typically at less than the spacing."""
    grid = so3_grid_for_spacing(spacing)
    distance = distance_to_nearest_deg(random_rotations(400, generator), grid)
    assert distance.max() < spacing
    assert 0.3 * spacing < distance.mean() < 0.6 * spacing


def test_so3_grid_is_uniform() -> None:
    """Haar moments: E[R] = 0 and E[R_ij²] = 1/3."""
    R = so3_grid(4, 16).double()
    assert R.shape == (192 * 16, 3, 3)
    torch.testing.assert_close(R.mean(0), torch.zeros(3, 3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(R.square().mean(0), torch.full((3, 3), 1 / 3).double(), atol=5e-3, rtol=0)


def test_viewing_direction_is_the_beam_in_the_particles_frame() -> None:
    R = so3_grid(2, 3)
    beam = torch.einsum("nji,j->ni", R, torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(viewing_directions(R), beam)
    assert len(torch.unique(viewing_directions(R).mul(1e5).round(), dim=0)) == 48


@pytest.mark.parametrize("name", ["C1", "C2", "C7", "D1", "D2", "D5", "T", "O", "I", "I1", "I3"])
def test_asymmetric_unit_holds_one_of_g_directions(name: str, generator: torch.Generator) -> None:
    group = point_group(name)
    directions = torch.nn.functional.normalize(torch.randn(5000, 3, generator=generator).double(), dim=-1)
    mates = torch.einsum("gij,nj->ngi", group, directions)
    inside = in_asymmetric_unit(mates.reshape(-1, 3), group).reshape(len(directions), len(group))
    assert (inside.sum(1) == 1).all()


@pytest.mark.parametrize("name", ["C3", "D2", "O"])
def test_the_grid_of_an_asymmetric_unit_covers_so3_by_its_mates(name: str, generator: torch.Generator) -> None:
    group = point_group(name)
    whole, part = so3_grid_for_spacing(15.0), so3_grid_for_spacing(15.0, group)
    assert len(whole) / len(group) <= len(part) < 1.6 * len(whole) / len(group)
    all_mates = (part[:, None].double() @ group[None]).reshape(-1, 3, 3)
    assert distance_to_nearest_deg(random_rotations(300, generator), all_mates).max() < 15 * 1.3


def test_local_grid_is_a_lattice_in_a_ball() -> None:
    grid = local_so3_grid(2.0, 6.0)
    angle = rotation_angle_deg(grid, torch.eye(3).expand_as(grid))
    assert torch.equal(grid[0], torch.eye(3))
    assert len(grid) == 123  # integer vectors with norm up to 3
    assert (angle[1:] >= angle[:-1] - 1e-3).all()
    assert angle.max() <= 6.001
    gap = torch.cdist(grid.double().flatten(1), grid.double().flatten(1)) / math.sqrt(2) + 9 * torch.eye(len(grid))
    torch.testing.assert_close(torch.rad2deg(gap.min()), torch.tensor(2.0).double(), atol=0.02, rtol=0)


def test_local_grid_covers_its_ball(generator: torch.Generator) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=-1)
    inside = rotation_from_vector(vectors * torch.deg2rad(torch.tensor(5.0)) * torch.rand(500, 1, generator=generator))
    assert distance_to_nearest_deg(inside, local_so3_grid(2.0, 7.0)).max() <= math.sqrt(3) + 0.01


def test_rotations_around_keep_their_parents(generator: torch.Generator) -> None:
    coarse = random_rotations(5, generator)
    fine, parents = rotations_around(coarse, 1.0, 2.0)
    assert rotation_angle_deg(fine, coarse[parents]).max() <= 2.001
    assert torch.bincount(parents).tolist() == [len(local_so3_grid(1.0, 2.0))] * 5


@pytest.mark.parametrize(
    "call",
    [
        lambda: healpix_directions(0),
        lambda: so3_grid(2, 0),
        lambda: so3_grid_for_spacing(0.0),
        lambda: local_so3_grid(0.0, 3.0),
        lambda: local_so3_grid(1.0, 200.0),
    ],
)
def test_impossible_grids_are_refused(call: object) -> None:
    with pytest.raises(ConfigError, match="Give a value"):
        call()  # type: ignore[operator]
