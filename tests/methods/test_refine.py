"""Refinement from poses and from a map, on a stack whose poses are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.methods.test_search import BOX, PIXEL_SIZE_A, N, errors_of, particles_of, phantom_stack
from vitreous.data import ArraySource, Poses, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.resize import resize_map
from vitreous.geometry.rotations import random_rotations, rotation_from_vector
from vitreous.geometry.symmetry import point_group
from vitreous.methods.search.given import on_grid_of
from vitreous.methods.search.recheck import angle_to_nearest_mate_deg
from vitreous.methods.search.refine import Refine, RefineConfig
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import Phantom

CONFIG = RefineConfig(rounds=5)


def truth_map() -> Volume:
    return atoms_to_density(Phantom().atoms(), DensityGrid(BOX, PIXEL_SIZE_A, 2.2 * PIXEL_SIZE_A))


def rough(sigma: float) -> Poses:
    truth = phantom_stack().truth
    generator = torch.Generator().manual_seed(4)
    off = rotation_from_vector(sigma * torch.randn(N, 3, generator=generator))
    return Poses(off @ truth.rotations, truth.shifts_A + 0.5 * PIXEL_SIZE_A * torch.randn(N, 2, generator=generator))


def test_rough_poses_become_good_ones() -> None:
    given = rough(0.1)
    particles = phantom_stack().particles.with_poses(given)
    result = Refine(CONFIG).run(particles)
    before = errors_of(replace(result, poses=given))
    after = errors_of(result)
    assert before.median_deg > 7
    assert after.median_deg < 3
    assert after.shift_mean_px < 0.4 < before.shift_mean_px
    assert result.verdict == "solved"
    assert "effective_poses" not in result.scores


def test_poses_too_far_off_are_not_called_solved() -> None:
    """Local refinement keeps them, and the halves agree on the same blur."""
    particles = phantom_stack().particles.with_poses(rough(0.6))
    result = Refine(CONFIG).run(particles)
    assert errors_of(result).median_deg > 20
    assert result.verdict == "failed"
    assert any("find their pose again" in warning for warning in result.warnings)


def test_mates_of_a_point_group_are_one_pose(generator: torch.Generator) -> None:
    R = random_rotations(20, generator)
    turned = R @ point_group("C3")[1].to(R)
    assert float(angle_to_nearest_mate_deg(R, turned, "C3").max()) < 0.1
    assert float(angle_to_nearest_mate_deg(R, turned, "C1").min()) > 119


def test_a_map_of_any_grey_scale_is_enough() -> None:
    """Low-passed, 37 times as strong, in another box: the poses in the particles are wrong and not used."""
    stack = phantom_stack()
    turned = Poses(torch.eye(3).expand(N, 3, 3).contiguous(), torch.zeros(N, 2))
    smaller = resize_map(37 * truth_map().values.float(), 24)
    start = on_grid_of(Volume(smaller, BOX * PIXEL_SIZE_A / 24), stack.particles)
    assert start.box == BOX
    result = Refine(CONFIG).run(stack.particles.with_poses(turned), start=start)
    errors = errors_of(result)
    assert errors.median_deg < 3
    assert errors.within_10_deg > 0.9
    assert result.verdict == "solved"
    assert float(result.scores["effective_poses"].min()) >= 1


def test_a_map_of_something_else_is_not_called_solved() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(N, BOX, BOX, generator=generator)
    result = Refine(CONFIG).run(particles_of(noise, phantom_stack().particles.optics), start=truth_map())
    assert result.verdict == "failed"


def test_maps_on_other_grids(generator: torch.Generator) -> None:
    particles = phantom_stack().particles
    padded = on_grid_of(Volume(torch.randn(20, 20, 20, generator=generator), PIXEL_SIZE_A), particles)
    assert padded.box == BOX
    assert float(padded.values[0].abs().max()) == 0
    with pytest.raises(ConfigError, match="another grid"):
        on_grid_of(Volume(torch.zeros(20, 20, 20), 3.0), particles)


def test_what_cannot_be_refined_is_refused() -> None:
    particles = phantom_stack().particles
    with pytest.raises(InputError, match="no poses"):
        Refine().run(particles)
    with pytest.raises(ConfigError, match="--start"):
        Refine(RefineConfig(start_A=2.0)).run(particles, start=truth_map())
    for settings, flag in (
        ({"rounds": 0}, "--rounds"),
        ({"start_A": -1.0}, "--start"),
        ({"seed": -1}, "--seed"),
        ({"symmetry": "autos"}, "AUTOS"),
    ):
        with pytest.raises(ConfigError, match=flag):
            RefineConfig(**settings)
    assert isinstance(particles.source, ArraySource)
    assert np.isfinite(particles.pixel_size_A)
