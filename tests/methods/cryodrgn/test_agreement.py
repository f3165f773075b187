"""Losses of agreement on closed-form cases."""

import math

import pytest
import torch

from vitreous.methods.cryodrgn.agreement import Agreement, covariance, invariance, variance, vicreg
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig

SQUARE = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def test_invariance_is_the_mean_square_of_differences() -> None:
    assert float(invariance(SQUARE, SQUARE + torch.tensor([3.0, 1.0]))) == pytest.approx((9 + 1) / 2)
    assert float(invariance(SQUARE, SQUARE)) == 0


@pytest.mark.parametrize(("gamma", "lacking"), [(2.0, 2 - math.sqrt(4 / 3)), (1.0, 0.0)])
def test_variance_is_what_the_standard_deviation_lacks(gamma: float, lacking: float) -> None:
    assert float(variance(SQUARE, gamma)) == pytest.approx(lacking, abs=1e-4)


def test_latents_that_are_all_alike_lack_all_of_it_and_are_pulled_apart() -> None:
    h = (1 + 1e-6 * SQUARE).requires_grad_()
    lacking = variance(h, 1.0)
    lacking.backward()
    assert lacking.item() == pytest.approx(0.99)  # √ε is 0.01
    assert bool((h.grad * SQUARE < 0).all())


def test_covariance_counts_pairs_of_different_dimensions_once_each_way() -> None:
    assert float(covariance(SQUARE)) == 0
    same = SQUARE[:, :1].expand(4, 3)
    assert float(covariance(same)) == pytest.approx(6 * (4 / 3) ** 2 / 3)
    torch.testing.assert_close(covariance(same + 5), covariance(same))


def test_vicreg_is_the_sum_of_its_terms(generator) -> None:
    a, b = torch.randn(2, 8, 3, generator=generator)
    parts = invariance(a, b) + variance(a, 1.5) + variance(b, 1.5) + covariance(a) + covariance(b)
    torch.testing.assert_close(vicreg(a, b, 1.5), parts)


def test_without_an_expander_the_latents_themselves_are_compared(generator) -> None:
    a, b = torch.randn(2, 8, 3, generator=generator)
    module = Agreement(3, CryoNooConfig(expander=0, loss="invariance"))
    torch.testing.assert_close(module(a, b), invariance(a, b))
    assert list(module.parameters()) == []


def test_simsiam_lies_between_opposite_and_same_and_stops_the_gradient_of_its_targets(generator) -> None:
    torch.manual_seed(0)
    module = Agreement(3, CryoNooConfig(expander=0, loss="simsiam"))
    module.predictor = torch.nn.Identity()
    a, b = torch.randn(2, 8, 3, generator=generator)
    assert float(module(a, 2 * a)) == pytest.approx(0, abs=1e-6)
    assert float(module(a, -a)) == pytest.approx(2)
    b.requires_grad_()
    # with the identity as the predictor each side is a target once: half of the full gradient
    (found,) = torch.autograd.grad(module(a, b), b)
    (full,) = torch.autograd.grad(1 - torch.nn.functional.cosine_similarity(a, b).mean(), b)
    torch.testing.assert_close(found, full / 2)


def test_the_expander_does_not_see_the_scale_of_latents(generator) -> None:
    module = Agreement(3, CryoNooConfig(expander=16))
    a, b = torch.randn(2, 8, 3, generator=generator)
    torch.testing.assert_close(module(100 * a, 100 * b), module(a, b), rtol=0.02, atol=0.02)
