"""Circular correlation against its definition, and angles found from neighbours."""

import math

import pytest
import torch

from vitreous.errors import InputError
from vitreous.evaluate.latents import (
    ConformationError,
    circular_correlation,
    conformation_error,
    is_one_angle,
    regress_angles,
    variance_explained,
)


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


@pytest.mark.parametrize("n", [1, 5, 12, 100])
def test_angles_that_do_not_vary_correlate_with_nothing(generator, n: int) -> None:
    """What rounding leaves of their spread once gave 2.8e16 or the root of a negative number."""
    other = torch.rand(n, generator=generator) * 6
    for k in range(100):
        same = torch.full((n,), math.radians((k - 50) * 0.6))
        opposite = same + math.pi * (torch.arange(n) % 2)
        rounded = same + 2e-7 * torch.randn(n, generator=generator)
        for still in (same, opposite, rounded):
            assert math.isnan(circular_correlation(still, other))
            assert math.isnan(circular_correlation(other, still))


def test_angles_that_hardly_vary_still_correlate(generator) -> None:
    a = 1.0 + 1e-3 * torch.randn(200, generator=generator)
    assert circular_correlation(a, a + 0.5) == pytest.approx(1, abs=1e-4)


def test_errors_in_degrees_are_defined_where_the_truth_does_not_vary() -> None:
    found = ConformationError(torch.full((3,), 1.0), torch.tensor([1.0, 1.1, 1.4])).summary()
    assert math.isnan(found["circular_correlation"])
    assert found["median_error_deg"] == pytest.approx(math.degrees(0.1), rel=1e-4)
    assert found["mean_error_deg"] == pytest.approx(math.degrees(0.5 / 3), rel=1e-4)


def test_whole_turns_are_no_other_angle() -> None:
    assert is_one_angle(torch.tensor([0.0, 2 * math.pi, -2 * math.pi]))
    assert not is_one_angle(torch.tensor([0.0, math.pi]))


def test_numbers_that_do_not_vary_have_no_variance_to_explain(generator) -> None:
    still = torch.full((30, 1), 7.3)
    assert math.isnan(variance_explained(still, still + 1))
    assert math.isnan(variance_explained(still, still))
    beside = torch.cat([still * 1e6, torch.rand(30, 1, generator=generator)], 1)
    assert variance_explained(beside, beside) == pytest.approx(1)
