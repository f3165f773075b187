"""Latents of images that are a mean slice plus a linear combination of others."""

import torch
from torch import Tensor

from vitreous.typing import Complex, Float


def linear_posterior(
    values: Complex[Tensor, "b k"], slices: Complex[Tensor, "b maps k"]
) -> tuple[Float[Tensor, "b dims"], Float[Tensor, "b dims dims"]]:
    """Mean and covariance of ``z`` where ``values = slices[0] + Σ z_k slices[k] + noise`` and ``z ~ N(0, 1)``.

    ``−log p = |y − A z|² + |z|²/2`` for complex noise of power 1 (Tipping & Bishop 1999).
    """
    with torch.autocast(values.device.type, enabled=False):  # rounded products are no longer positive definite
        real = torch.view_as_real(slices).flatten(-2)
        residual = torch.view_as_real(values - slices[:, 0]).flatten(-2)
        principal = real[:, 1:]
        precision = torch.eye(principal.shape[1], device=values.device) + 2 * principal @ principal.mT
        # not torch.linalg.inv: in several threads MKL's LU factors of 150 x 150 and more are wrong, or never made
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        return (covariance @ (2 * principal @ residual[..., None]))[..., 0], covariance
