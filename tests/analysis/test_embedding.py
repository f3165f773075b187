"""Clusters, axes and confidence of latents whose cloud is known."""

import pytest
import torch

from vitreous.analysis.embedding import (
    along_axis,
    k_means,
    latent_confidence,
    latent_distance,
    nearest_rows,
    principal_axes,
)
from vitreous.data import Latents


def test_axes_of_a_stretched_cloud(generator) -> None:
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    z = torch.randn(4000, 3, generator=generator) * torch.tensor([1.0, 5.0, 2.0]) @ turn + 7
    found = principal_axes(z)
    alignment = (found.axes @ turn.T).abs()
    torch.testing.assert_close(alignment, torch.eye(3)[[1, 2, 0]], atol=0.05, rtol=0)
    torch.testing.assert_close(found.shares, torch.tensor([25.0, 4.0, 1.0]) / 30, atol=0.02, rtol=0)


def test_points_along_an_axis_end_at_its_tails(generator) -> None:
    z = torch.rand(10_001, 2, generator=generator) * torch.tensor([10.0, 1.0])
    points = along_axis(z, principal_axes(z), 0, 5)
    ends = sorted(points[[0, -1], 0].tolist())
    assert ends == pytest.approx([0.5, 9.5], abs=0.15)
    torch.testing.assert_close(points.diff(dim=0), points.diff(dim=0)[:1].expand(4, 2))


def test_clusters_far_apart_are_told_apart(generator) -> None:
    truth = torch.randint(4, (400,), generator=generator)
    corners = torch.tensor([[0.0, 0], [20, 0], [40, 5], [60, -5]])
    z = corners[truth] + torch.randn(400, 2, generator=generator)
    centres, labels = k_means(z, 4, generator)
    matches = torch.stack([labels == truth, labels == 3 - truth]).float().mean(1)  # the axis has two directions
    assert float(matches.max()) == 1.0
    assert float(torch.cdist(centres, corners).min(1).values.max()) < 0.5


def test_more_clusters_than_points() -> None:
    z = torch.tensor([[0.0], [1.0]])
    centres, labels = k_means(z, 5, torch.Generator().manual_seed(0))
    assert len(centres) == 2
    assert len(labels.unique()) == 2


def test_nearest_particles() -> None:
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    assert nearest_rows(z, torch.tensor([[4.0, 4.0], [0.4, 0.0]])).tolist() == [2, 0]


def test_confidence_is_the_share_of_the_variance_that_is_no_noise(generator) -> None:
    known = torch.randn(5000, 2, generator=generator) * torch.tensor([2.0, 1e-4])
    std = torch.tensor([[2.0, 1.0], [1e-3, 1.0], [100.0, 1.0]])
    found = latent_confidence(Latents(torch.zeros(3, 2), std), known)
    torch.testing.assert_close(found, torch.tensor([0.5, 1.0, 0.0]), atol=0.02, rtol=0)


def test_distance_is_one_among_the_known_and_large_outside(generator) -> None:
    known = torch.randn(2000, 2, generator=generator)
    assert float(latent_distance(torch.randn(500, 2, generator=generator), known).median()) == pytest.approx(1, abs=0.2)
    assert float(latent_distance(torch.tensor([[10.0, 0.0]]), known)[0]) > 20
