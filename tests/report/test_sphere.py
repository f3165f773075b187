"""Directions on the sphere: equal areas, uniform sets, RELION's angles, the Mollweide map."""

import numpy as np
import pytest
import torch

from vitreous.geometry.rotations import random_rotations, rotation_from_euler
from vitreous.report.sphere import (
    SphereBins,
    fourier_coverage,
    mollweide,
    mollweide_grid,
    relative_density,
    viewing_directions,
)


@pytest.fixture
def uniform(generator):
    return random_rotations(40_000, generator)[:, 2].double().numpy()


def test_viewing_direction_is_the_third_row_of_the_rotation(generator):
    angles = torch.rand(200, 3, generator=generator, dtype=torch.float64) * torch.tensor([360.0, 180.0, 360.0])
    third_row = rotation_from_euler(angles)[:, 2].numpy()
    np.testing.assert_allclose(viewing_directions(angles[:, 0].numpy(), angles[:, 1].numpy()), third_row, atol=1e-12)


@pytest.mark.parametrize("rings", [4, 11, 40])
def test_every_centre_lies_in_its_own_cell(rings):
    bins = SphereBins.build(rings)
    np.testing.assert_array_equal(bins.index(bins.centres()), np.arange(len(bins)))


def test_poles_and_the_seam_have_a_cell():
    bins = SphereBins.build(9)
    edge = np.array([[0, 0, 1.0], [0, 0, -1], [-1, -0.0, 0], [-1, 0.0, 0], [1, 0, 0], [1, -1e-18, 0]])
    assert ((bins.index(edge) >= 0) & (bins.index(edge) < len(bins))).all()


def test_uniform_directions_fill_all_cells_equally(uniform):
    bins = SphereBins.build(20)
    counts = np.bincount(bins.index(uniform), minlength=len(bins))
    expected = len(uniform) / len(bins)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    freedom = len(bins) - 1
    assert abs(chi_squared - freedom) < 4 * np.sqrt(2 * freedom)


def test_density_of_a_uniform_set_is_one(uniform):
    at = SphereBins.build(10).centres()
    assert relative_density(uniform, at, 8.0, SphereBins.build(40)) == pytest.approx(1, abs=0.12)


def test_density_of_one_hemisphere_is_two_there_and_zero_opposite(uniform):
    upper = uniform * np.sign(uniform[:, 2:])
    at = np.array([[0, 0, 1.0], [0, 0, -1]])
    assert relative_density(upper, at, 8.0, SphereBins.build(40)) == pytest.approx([2, 0], abs=0.2)


def test_coverage_of_a_uniform_set_is_even(uniform):
    assert fourier_coverage(uniform, SphereBins.build(20)) == pytest.approx(1, abs=0.1)


def test_one_view_samples_its_plane_only():
    bins = SphereBins.build(41)
    coverage = fourier_coverage(np.tile([0, 0, 1.0], (50, 1)), bins, half_width_deg=5.0)
    off_plane_deg = np.rad2deg(np.arcsin(np.abs(bins.centres()[:, 2])))
    assert coverage[off_plane_deg > 10].max() == 0
    assert coverage[off_plane_deg < 2].min() == pytest.approx(1 / np.sin(np.deg2rad(5)), rel=0.1)


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
