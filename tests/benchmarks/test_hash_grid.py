"""Figures of the hash grid's benchmark follow from times that are given."""

import pytest
import torch
from benchmarks.hash_grid import figures, medians, passes

from vitreous.nn.hash_grid import HashGrid

GRID = HashGrid(levels=3, features=2, log2_entries=8, base=4, finest=8)


def test_rates_and_bytes_of_given_times() -> None:
    found = figures(GRID, 1000, (0.01, 0.02), copied=1e9)
    assert found["forward_per_s"] == pytest.approx(1e5)
    assert found["backward_per_s"] == pytest.approx(5e4)
    assert found["forward_over_copy"] == pytest.approx(1e5 * 8 * 3 * 2 * 4 / 1e9)  # vertices, levels, features, bytes
    assert found["backward_over_copy"] == pytest.approx(found["forward_over_copy"] / 2)


def test_the_round_that_warms_up_does_not_count() -> None:
    assert medians([(100.0, 90.0), (1.0, 0.5), (3.0, 2.5), (2.0, 1.5)]) == (2.0, 1.5)


def test_every_round_reaches_the_tables_and_leaves_them_as_they_were() -> None:
    before = GRID.table.detach().clone()
    reached = []
    GRID.table.register_hook(lambda gradient: reached.append(float(gradient.sum())))
    passes(GRID, torch.rand(50, 3), rounds=2)
    assert reached == pytest.approx([50 * 3 * 2] * 3, rel=1e-4)  # weights of a point's vertices add up to 1
    assert torch.equal(GRID.table, before)
