"""Sampling of Fourier space, against what is known in closed form."""

import math

import pytest
import torch

from vitreous.analysis.orientations import fourier_sampling
from vitreous.geometry.rotations import random_rotations
from vitreous.geometry.symmetry import point_group
from vitreous.simulate.views import preferred_views, rotations_of_beams

C1 = point_group("C1")


def rotations_along(beams: torch.Tensor) -> torch.Tensor:
    return rotations_of_beams(beams, torch.zeros(len(beams), dtype=torch.float64))


def side_views(n: int, generator: torch.Generator) -> torch.Tensor:
    turn = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    return rotations_along(torch.stack([turn.cos(), turn.sin(), torch.zeros_like(turn)], 1))


@pytest.mark.parametrize("n", [200, 2000, 20_000])
@pytest.mark.parametrize("symmetry", ["C1", "D3"])
def test_uniform_views_sample_evenly(n: int, symmetry: str, generator: torch.Generator) -> None:
    sampling = fourier_sampling(random_rotations(n, generator), point_group(symmetry))
    assert sampling.compensation_factor == pytest.approx(1, abs=0.02)
    assert sampling.unsampled_share == 0
    assert float(sampling.relative.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("n", [2000, 20_000])
def test_side_views_have_the_published_factor(n: int, generator: torch.Generator) -> None:
    """Density 1/sin θ about the axis: SCF = 8/π² = 0.81 (Baldwin & Lyumkis 2020)."""
    sampling = fourier_sampling(side_views(n, generator), C1)
    assert sampling.compensation_factor == pytest.approx(8 / math.pi**2, abs=0.02)
    assert sampling.unsampled_share == 0
    angle = torch.acos(sampling.directions[:, 2].double())
    belt = (angle.sin() > 0.3) & (angle.sin() < 0.97)
    expected = 2 / math.pi / angle.sin()
    assert ((sampling.relative / expected)[belt] - 1).mean().abs() < 0.01


def test_one_view_samples_its_plane_only() -> None:
    along_z = rotations_along(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(4000, -1))
    sampling = fourier_sampling(along_z, C1)
    in_plane = sampling.directions[:, 2].abs() <= 0.01
    assert torch.equal(sampling.slices, 4000 * in_plane.long())
    assert sampling.unsampled_share == pytest.approx(0.99, abs=0.002)
    assert sampling.compensation_factor == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize("half_angle_deg", [20.0, 30.0, 45.0])
def test_share_of_a_missing_cone(half_angle_deg: float, generator: torch.Generator) -> None:
    """Views tilted by at most 90° − α from z leave a cone of half-angle α about z without slices."""
    rotations = random_rotations(40_000, generator)
    rotations = rotations[rotations[:, 2, 2].abs() > math.sin(math.radians(half_angle_deg))]
    sampling = fourier_sampling(rotations, C1)
    edge_deg = math.degrees(math.asin(0.01))
    share = 1 - math.cos(math.radians(half_angle_deg - edge_deg))
    assert sampling.unsampled_share == pytest.approx(share, abs=0.003)
    off_axis_deg = torch.rad2deg(torch.acos(sampling.directions[:, 2].abs().double().clamp_max(1)))
    assert (sampling.slices[off_axis_deg < half_angle_deg - 1] == 0).all()
    assert (sampling.slices[off_axis_deg > half_angle_deg + 2] > 0).all()


def test_factor_falls_with_preference() -> None:
    factors = [
        fourier_sampling(preferred_views(5000, 0, (0.6, 0.0, 0.8), kappa), C1).compensation_factor
        for kappa in (0.0, 2.0, 4.0, 6.0, 10.0)
    ]
    assert factors == sorted(factors, reverse=True)
    assert factors[1] > 0.9
    assert factors[-1] < 0.3


def test_symmetry_mates_count() -> None:
    """All mates inserted by hand sample as the group says, at any direction."""
    views = preferred_views(300, 1, (0.3, 0.5, 0.8), 8.0)
    group = point_group("D2")
    mates = torch.cat([views @ operation.float() for operation in group])
    by_group = fourier_sampling(views, group)
    by_hand = fourier_sampling(mates, C1, by_group.directions)
    assert by_group.expected == by_hand.expected
    assert (by_group.slices - by_hand.slices).abs().sum() <= 2  # directions on the very edge of a slice
    whole = fourier_sampling(mates, C1)
    assert by_group.compensation_factor == pytest.approx(whole.compensation_factor, abs=0.03)


def test_turning_the_particle_turns_the_sampling(generator: torch.Generator) -> None:
    views, turn = preferred_views(500, 2, (0.0, 0.0, 1.0), 5.0), random_rotations(1, generator)[0]
    before = fourier_sampling(views, C1)
    after = fourier_sampling(views @ turn.T, C1, before.directions @ turn.T)
    assert (before.slices - after.slices).abs().sum() <= 2
