"""Directions on the sphere: RELION's angles, density, the Mollweide map."""

import numpy as np
import pytest
import torch

from vitreous.geometry.rotations import random_rotations, rotation_from_euler
from vitreous.geometry.sphere_bins import SphereBins
from vitreous.report.sphere import mollweide, mollweide_grid, relative_density, smoothed, viewing_directions


@pytest.fixture
def uniform(generator):
    return random_rotations(40_000, generator)[:, 2].double().numpy()


def test_viewing_direction_is_the_third_row_of_the_rotation(generator):
    angles = torch.rand(200, 3, generator=generator, dtype=torch.float64) * torch.tensor([360.0, 180.0, 360.0])
    third_row = rotation_from_euler(angles)[:, 2].numpy()
    np.testing.assert_allclose(viewing_directions(angles[:, 0].numpy(), angles[:, 1].numpy()), third_row, atol=1e-12)


def test_density_of_a_uniform_set_is_one(uniform):
    at = SphereBins.build(10).centres()
    assert relative_density(uniform, at, 8.0, SphereBins.build(40)) == pytest.approx(1, abs=0.12)


def test_density_of_one_hemisphere_is_two_there_and_zero_opposite(uniform):
    upper = uniform * np.sign(uniform[:, 2:])
    at = np.array([[0, 0, 1.0], [0, 0, -1]])
    assert relative_density(upper, at, 8.0, SphereBins.build(40)) == pytest.approx([2, 0], abs=0.2)


def test_smoothing_gives_each_direction_and_its_opposite_their_value():
    directions = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    at = np.concatenate([directions, -directions, [[0.6, 0, 0.8]]])
    found = smoothed(directions, np.array([3.0, 5.0, 7.0]), at, 15.0)
    assert found[:6] == pytest.approx([3, 5, 7, 3, 5, 7], abs=1e-3)
    assert 3 < found[6] < 4


def test_mollweide_grid_and_projection_are_inverse():
    x, y, directions = mollweide_grid(40)
    shown = np.isfinite(directions).all(axis=-1)
    rot = np.rad2deg(np.arctan2(directions[..., 1], directions[..., 0]))[shown]
    tilt = np.rad2deg(np.arccos(directions[..., 2]))[shown]
    back_x, back_y = mollweide(rot, tilt)
    grid_x, grid_y = np.meshgrid(x, y)
    np.testing.assert_allclose(back_x, grid_x[shown], atol=1e-3)
    np.testing.assert_allclose(back_y, grid_y[shown], atol=1e-3)


def test_mollweide_map_keeps_areas():
    _, _, directions = mollweide_grid(300)
    z = directions[..., 2][np.isfinite(directions).all(axis=-1)]
    for tilt_deg in (20, 60, 90, 130):
        share = (1 - np.cos(np.deg2rad(tilt_deg))) / 2
        assert np.mean(z > np.cos(np.deg2rad(tilt_deg))) == pytest.approx(share, abs=0.004)
