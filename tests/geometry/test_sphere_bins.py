"""Equal-area cells of the sphere."""

import numpy as np
import pytest

from vitreous.geometry.rotations import random_rotations
from vitreous.geometry.sphere_bins import SphereBins


@pytest.fixture
def uniform(generator):
    return random_rotations(40_000, generator)[:, 2].double().numpy()


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
