"""Positional encodings against their formulas."""

import math

import pytest
import torch

from vitreous.nn.positional import ENCODINGS, PositionalEncoding


@pytest.mark.parametrize("kind", ENCODINGS)
def test_it_holds_a_sine_and_a_cosine_of_every_vector(kind: str) -> None:
    encoding = PositionalEncoding(16, kind)
    point = torch.tensor([[0.1, -0.2, 0.3]])
    phases = point @ encoding.vectors.T
    assert encoding.features == 3 * 8 * 2
    torch.testing.assert_close(encoding(phases)[0], torch.cat([phases.sin(), phases.cos()], 1)[0])


def test_lengths_of_the_vectors() -> None:
    lengths = {kind: PositionalEncoding(32, kind).vectors.norm(dim=1) for kind in ENCODINGS if kind != "gaussian"}
    ends = {kind: (float(found.max()), float(found.min())) for kind, found in lengths.items()}
    assert ends["geom_ft"] == pytest.approx((32 * math.pi, 2 * math.pi), rel=1e-5)
    assert ends["geom_full"] == pytest.approx((32 * math.pi, 1.0), rel=1e-5)
    assert ends["geom_lowf"] == pytest.approx((16.0, 1.0), rel=1e-5)
    assert ends["geom_nohighf"] == pytest.approx((16.0, 2 * math.pi), rel=1e-5)
    assert sorted(lengths["linear_lowf"].tolist()) == sorted(3 * list(range(1, 17)))


def test_gaussian_vectors_have_the_width_asked_for_and_are_kept() -> None:
    encoding = PositionalEncoding(32, "gaussian", count=2000, sigma=0.25)
    assert float(encoding.vectors.std()) == pytest.approx(0.25 * 16, rel=0.03)
    assert "vectors" in encoding.state_dict()
