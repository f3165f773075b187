"""What is added to a result, and when views are called preferred."""

import math

import pytest
import torch

from vitreous.analysis.anisotropy import preferred_view_warning, with_orientations
from vitreous.analysis.orientations import fourier_sampling
from vitreous.data import Poses, ResolutionCurves, Result, Volume
from vitreous.fourier.filters import low_pass_to
from vitreous.fourier.shells import fsc, resolution_A
from vitreous.geometry.rotations import random_rotations
from vitreous.geometry.symmetry import point_group
from vitreous.simulate.views import preferred_views

C1 = point_group("C1")
BOX, VOXEL_A = 32, 2.0


def poses_of(rotations: torch.Tensor) -> Poses:
    return Poses(rotations, torch.zeros(len(rotations), 2))


@pytest.fixture
def halves(generator: torch.Generator) -> tuple[Volume, Volume]:
    """White signal that is gone beyond 8 Å, with noise."""
    signal = low_pass_to(6 * torch.randn(BOX, BOX, BOX, generator=generator), 8.0, VOXEL_A)
    first, second = (Volume(signal + torch.randn(BOX, BOX, BOX, generator=generator), VOXEL_A) for _ in range(2))
    return first, second


@pytest.fixture
def uniform(generator: torch.Generator) -> Poses:
    return poses_of(random_rotations(1000, generator))


def test_even_views_give_the_resolution_of_the_map_in_all_directions(halves, uniform) -> None:
    found = with_orientations(Result(half_maps=halves, metrics={"diameter_A": 90.0}), uniform, "C1")
    figures = found.metrics
    assert figures["diameter_A"] == 90.0
    assert figures["sampling_compensation_factor"] == pytest.approx(1, abs=0.03)
    assert figures["unsampled_share"] == 0
    assert figures["best_direction_A"] <= figures["median_direction_A"] <= figures["worst_direction_A"]
    plain_A = resolution_A(fsc(halves[0].values, halves[1].values), 0.143, BOX, VOXEL_A)
    assert figures["median_direction_A"] == pytest.approx(plain_A, rel=0.05)
    assert 0.9 < figures["sphericity"] <= 1
    assert found.warnings == ()
    assert found.cones.directions.shape == (200, 3)
    assert found.cones.fsc.shape == (200, BOX // 2 + 1)


def test_cones_are_corrected_as_the_shells_are(halves, uniform) -> None:
    """A mask of ones whose curves say that a tenth of the correlation is the mask's."""
    masked = fsc(halves[0].values, halves[1].values)
    frequency = torch.arange(len(masked), dtype=torch.float64) / (BOX * VOXEL_A)
    curves = ResolutionCurves(frequency, masked, masked, torch.full_like(masked, 0.1), (masked - 0.1) / 0.9)
    bare = with_orientations(Result(half_maps=halves), uniform, "C1").cones
    ones = Volume(torch.ones(BOX, BOX, BOX), VOXEL_A)
    corrected = with_orientations(Result(half_maps=halves, mask=ones, curves=curves), uniform, "C1").cones
    torch.testing.assert_close(corrected.fsc, (bare.fsc - 0.1) / 0.9, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("half_maps", "known"), [(False, True), (True, False)])
def test_nothing_is_said_without_half_maps_or_poses(halves, uniform, half_maps: bool, known: bool) -> None:
    result = Result(half_maps=halves if half_maps else None)
    assert with_orientations(result, uniform if known else None, "C1") is result


def test_preferred_views_are_said_with_what_to_do_unless_the_map_failed(halves) -> None:
    poses = poses_of(preferred_views(2000, 0, (0.0, 0.0, 1.0), 10.0))
    (warning,) = with_orientations(Result(half_maps=halves), poses, "C1").warnings
    for words in ("strongly preferred", "lie in no slice", "tilted", "grids", "2D", "Å"):
        assert words in warning
    assert with_orientations(Result(half_maps=halves, verdict="failed"), poses, "C1").warnings == ()


def views_without_a_cone(n: int, half_angle_deg: float, generator: torch.Generator) -> torch.Tensor:
    rotations = random_rotations(40 * n, generator)
    return rotations[rotations[:, 2, 2].abs() > math.sin(math.radians(half_angle_deg))][:n]


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_warning_is_for_strong_preference_and_missing_cones_only(n: int, generator: torch.Generator) -> None:
    def warned(rotations: torch.Tensor, symmetry: str = "C1") -> bool:
        return preferred_view_warning(fourier_sampling(rotations, point_group(symmetry)), (3.0, 6.0)) != ()

    assert not warned(random_rotations(n, generator))
    assert not warned(preferred_views(n, 0, (0.0, 0.0, 1.0), 3.0))
    assert not warned(views_without_a_cone(n, 10.0, generator))
    assert warned(preferred_views(n, 0, (0.0, 0.0, 1.0), 10.0))
    assert warned(views_without_a_cone(n, 30.0, generator))
    assert not warned(preferred_views(n, 0, (0.0, 0.0, 1.0), 5.0), "O")


def test_a_handful_of_particles_is_not_judged() -> None:
    few = preferred_views(20, 0, (0.0, 0.0, 1.0), 50.0)
    assert preferred_view_warning(fourier_sampling(few, C1), (3.0, 6.0)) == ()
