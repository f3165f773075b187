"""Circular correlation against its definition, and angles found from neighbours."""

import math

import pytest
import torch

from vitreous.errors import InputError
from vitreous.evaluate.latents import circular_correlation, conformation_error, regress_angles


def test_circular_correlation_is_its_sum_over_pairs(generator) -> None:
    a = torch.rand(40, generator=generator) * 6
    b = a + 0.8 * torch.randn(40, generator=generator)
    da, db = (torch.sin(x[:, None] - x[None, :]).double() for x in (a, b))
    expected = float((da * db).sum() / ((da**2).sum() * (db**2).sum()).sqrt())
    assert circular_correlation(a, b) == pytest.approx(expected, rel=1e-5)


def test_circular_correlation_does_not_depend_on_where_the_circle_is_cut(generator) -> None:
    a = torch.rand(500, generator=generator) * 2 * math.pi
    assert circular_correlation(a, a + 1.0) == pytest.approx(1.0)
    assert circular_correlation(a, torch.remainder(a + 3.0, 2 * math.pi)) == pytest.approx(1.0)
    assert circular_correlation(a, -a) == pytest.approx(-1.0)
    other = torch.rand(500, generator=generator) * 2 * math.pi
    assert abs(circular_correlation(a, other)) < 0.15


def test_angles_are_found_across_the_cut(generator) -> None:
    angles = torch.rand(2000, generator=generator) * 2 * math.pi
    ring = torch.stack([angles.cos(), angles.sin()], 1)
    at = torch.tensor([0.01, math.pi, 2 * math.pi - 0.01])
    found = regress_angles(ring, angles, torch.stack([at.cos(), at.sin()], 1))
    torch.testing.assert_close(found.cos(), at.cos(), atol=0.03, rtol=0)
    torch.testing.assert_close(found.sin(), at.sin(), atol=0.03, rtol=0)


def test_latents_that_know_nothing_correlate_with_nothing(generator) -> None:
    angles = torch.rand(600, generator=generator) * 2 * math.pi
    ring = torch.stack([angles.cos(), angles.sin()], 1)
    good = conformation_error(ring + 0.05 * torch.randn(600, 2, generator=generator), angles, generator).summary()
    blind = conformation_error(torch.randn(600, 2, generator=generator), angles, generator).summary()
    assert good["circular_correlation"] > 0.99
    assert good["mean_error_deg"] < 5
    assert abs(blind["circular_correlation"]) < 0.2
    assert blind["mean_error_deg"] > 70


def test_too_few_particles_are_refused(generator) -> None:
    with pytest.raises(InputError, match="too few particles"):
        conformation_error(torch.zeros(9, 2), torch.zeros(9), generator)
