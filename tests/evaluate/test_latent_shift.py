"""Distances of Gaussians that are known in closed form or by quadrature, and what two runs have in common."""

import math

import pytest
import torch

from vitreous.errors import InputError
from vitreous.evaluate.latent_agreement import canonical_correlations, latent_agreement
from vitreous.evaluate.latent_shift import latent_shift, shift_within
from vitreous.evaluate.latents import regress_numbers, variance_explained

LINE = torch.linspace(-12, 13, 20_001, dtype=torch.float64)


def gaussian(mean: float, width: float = 1.0) -> torch.Tensor:
    return torch.exp(-0.5 * ((LINE - mean) / width) ** 2) / (width * math.sqrt(2 * math.pi))


def test_distances_of_two_gaussians_on_a_line(generator) -> None:
    a = torch.randn(6000, 1, generator=generator)
    b = torch.randn(6000, 1, generator=generator) + 1
    found = latent_shift(a, b, generator)
    p, q = gaussian(0), gaussian(1)
    m, step = (p + q) / 2, float(LINE[1] - LINE[0])
    assert found.kl_known_new == pytest.approx(0.5, abs=0.1)
    assert found.kl_new_known == pytest.approx(0.5, abs=0.1)
    assert found.total_variation == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=0.03)
    jensen_shannon = float((p * (p / m).log() + q * (q / m).log()).sum()) * step / 2
    assert found.jensen_shannon == pytest.approx(jensen_shannon, abs=0.015)
    assert found.hellinger == pytest.approx(math.sqrt(1 - math.exp(-1 / 8)), abs=0.03)
    assert found.wasserstein == pytest.approx(1.0, abs=0.15)


def test_the_divergence_has_a_direction(generator) -> None:
    wide = torch.randn(4000, 2, generator=generator) * 2
    narrow = torch.randn(4000, 2, generator=generator)
    found = latent_shift(wide, narrow, generator)
    # σ² / σ'² − 1 − 2·log(σ / σ') in two dimensions
    assert found.kl_new_known == pytest.approx(0.25 - 1 + 2 * math.log(2), abs=0.12)
    assert found.kl_known_new > 4 - 1 - 2 * math.log(2)  # more than that, where the narrow one has no points


def test_scale_and_turns_change_nothing_but_lengths(generator) -> None:
    a = torch.randn(500, 3, generator=generator)
    b = torch.randn(500, 3, generator=generator) + 0.7
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    one = latent_shift(a, b, torch.Generator().manual_seed(1)).summary()
    other = latent_shift(10 * a @ turn + 3, 10 * b @ turn + 3, torch.Generator().manual_seed(1)).summary()
    for name, value in one.items():
        factor = 10 if name in {"wasserstein", "bandwidth_known", "bandwidth_new"} else 1
        assert other[name] == pytest.approx(factor * value, rel=1e-3), name


def test_sets_that_do_not_overlap(generator) -> None:
    a = torch.randn(500, 2, generator=generator)
    found = latent_shift(a, a + 1000, generator)
    assert found.kl_known_new > 1000
    assert found.total_variation == pytest.approx(1)
    assert found.jensen_shannon == pytest.approx(math.log(2))
    assert found.hellinger == pytest.approx(1)
    assert found.wasserstein == pytest.approx(1000 * math.sqrt(2), rel=0.01)


def test_parts_of_one_set_are_close(generator) -> None:
    found = shift_within(torch.randn(3000, 2, generator=generator), 5000, generator)
    assert abs(found.kl_known_new) < 0.05
    assert found.total_variation < 0.15
    assert found.wasserstein < 0.3
    few = shift_within(torch.randn(3000, 2, generator=generator), 30, generator)
    assert few.wasserstein > 1.5 * found.wasserstein


def test_sets_that_cannot_be_compared(generator) -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        latent_shift(torch.zeros(20, 2), torch.zeros(20, 3), generator)
    with pytest.raises(InputError, match="cannot be compared"):
        latent_shift(torch.zeros(20, 2), torch.zeros(5, 2), generator)


def test_canonical_correlations_are_those_that_were_made(generator) -> None:
    common = torch.randn(20_000, 2, generator=generator)
    a = torch.cat([common, torch.randn(20_000, 1, generator=generator)], 1)
    noise = torch.randn(20_000, 2, generator=generator)
    b = torch.stack([common[:, 0] + 0.5 * noise[:, 0], common[:, 1] + 2 * noise[:, 1]], 1)
    turned = a @ torch.linalg.qr(torch.randn(3, 3, generator=generator))[0] * 7
    found = canonical_correlations(turned, b)
    assert found.tolist() == pytest.approx([1 / math.sqrt(1.25), 1 / math.sqrt(5)], abs=0.02)


def test_runs_that_agree_up_to_a_bend(generator) -> None:
    t = torch.rand(1500, generator=generator) * 6
    arc = torch.stack([t.cos(), t.sin()], 1)
    line = torch.stack([t, 0.01 * torch.randn(1500, generator=generator)], 1)
    found = latent_agreement(arc, line, generator)
    assert found.first_from_second > 0.98
    assert found.second_from_first > 0.95
    assert found.shared_neighbours > 0.6
    blind = latent_agreement(arc, torch.randn(1500, 2, generator=generator), generator)
    assert abs(blind.first_from_second) < 0.1
    assert blind.shared_neighbours == pytest.approx(blind.shared_by_chance, abs=0.01)
    assert float(blind.canonical_correlations[0]) < 0.15


def test_too_few_common_particles_are_refused(generator) -> None:
    with pytest.raises(InputError, match="too few particles in common"):
        latent_agreement(torch.zeros(20, 2), torch.zeros(20, 2), generator)


def test_numbers_are_found_from_neighbours(generator) -> None:
    z = torch.rand(3000, 2, generator=generator)
    values = torch.stack([z.sum(1), z[:, 0] ** 2], 1)
    new = torch.rand(200, 2, generator=generator)
    found = regress_numbers(z, values, new, 10)
    assert variance_explained(torch.stack([new.sum(1), new[:, 0] ** 2], 1), found) > 0.98
    assert variance_explained(values, values.mean(0).expand_as(values)) == pytest.approx(0)
