"""Normal distributions of latents, as encoders give them (Kingma & Welling 2014, arXiv:1312.6114)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.typing import Float


@dataclass(frozen=True)
class Posterior:
    """Normal distributions of the latents of some images, ``[b, dims]`` each."""

    mean: Float[Tensor, "b dims"]
    log_variance: Float[Tensor, "b dims"]

    def drawn(self) -> Float[Tensor, "b dims"]:
        """One sample of each, through which gradients flow."""
        return self.mean + torch.randn_like(self.mean) * (self.log_variance / 2).exp()

    def divergence(self) -> Float[Tensor, " b"]:
        """Kullback-Leibler divergence from the standard normal distribution."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(-1)
