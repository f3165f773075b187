"""The overlap of a structure with itself."""

import numpy as np
import pytest
import torch

from tests.simulate.structure_files import random_walk
from vitreous.geometry.rotations import random_rotations
from vitreous.geometry.symmetry import point_group
from vitreous.simulate.self_overlap import SYMMETRIC_FROM, self_overlap


def assembly(group: str, seed: int) -> np.ndarray:
    """Return copies of one random chain beside the axes of a point group."""
    chain = random_walk(120, seed) + np.random.default_rng(seed).uniform(12, 25, 3)
    return np.concatenate([chain @ matrix.T for matrix in point_group(group).double().numpy()])


@pytest.mark.parametrize("group", ["C2", "C3", "C6", "D2", "T", "O"])
def test_symmetric_assemblies_overlap_themselves(group):
    assert min(self_overlap(assembly(group, seed)) for seed in range(4)) > SYMMETRIC_FROM


def test_asymmetric_chains_do_not():
    found = [self_overlap(random_walk(200, seed)) for seed in range(12)]
    assert np.mean(np.array(found) < SYMMETRIC_FROM) > 0.9
    assert np.median(found) < 0.85


def test_round_is_not_symmetric():
    """A ball with one bump has nearly the same density from everywhere, yet its poses can be told apart."""
    generator = np.random.default_rng(0)
    ball = generator.normal(size=(3000, 3))
    ball *= 20 * generator.uniform(size=(3000, 1)) ** (1 / 3) / np.linalg.norm(ball, axis=1, keepdims=True)
    bump = generator.normal(size=(300, 3)) * 3 + np.array([20, 0, 0])
    side = generator.normal(size=(300, 3)) * 3 + np.array([0, 20, 0])
    one_more = np.concatenate([ball, bump, side, side + np.array([6, 0, 14])])
    assert self_overlap(one_more) < 0.9


def test_orientation_and_size_do_not_matter():
    points = assembly("C1", 3)
    turned = points @ random_rotations(1, torch.Generator().manual_seed(0))[0].numpy().T * 7 + 100
    assert self_overlap(turned) == pytest.approx(self_overlap(points), abs=0.03)


def test_inputs_are_untouched_and_degenerate_ones_have_an_answer():
    points = random_walk(50, 0)
    before = points.copy()
    self_overlap(points)
    np.testing.assert_array_equal(points, before)
    assert 0 <= self_overlap(np.zeros((1, 3))) <= 1
    assert 0 <= self_overlap(np.array([[0, 0, 0], [5.0, 0, 0]])) <= 1
