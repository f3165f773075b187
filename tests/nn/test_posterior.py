"""Posteriors: their divergence is torch's own."""

import torch

from vitreous.nn.posterior import Posterior


def test_divergence_is_that_of_torch(generator) -> None:
    mean, log_variance = torch.randn(2, 5, 3, generator=generator)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(Posterior(mean, log_variance).divergence(), expected)
