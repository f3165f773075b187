"""Losses that make latents of two views of an image agree without making all latents alike.

VICReg (Bardes et al. 2021, arXiv:2105.04906; CryoNOO eq. 2-4) and SimSiam (Chen & He 2021, arXiv:2011.10566).
"""

from itertools import pairwise

import torch.nn.functional as F  # noqa: N812  the name that torch's own documentation uses
from torch import Tensor, nn

from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.typing import Float

_EPSILON = 1e-4


def invariance(first: Float[Tensor, "b d"], second: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Mean squared difference, over images and dimensions (eq. 3 over d, as the other two terms are)."""
    return (first - second).square().mean()


def variance(h: Float[Tensor, "b d"], gamma: float) -> Float[Tensor, ""]:
    """Mean over dimensions of what the standard deviation lacks of ``gamma`` (eq. 2, left)."""
    return F.relu(gamma - (h.var(0) + _EPSILON).sqrt()).mean()


def covariance(h: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Sum of the squared covariances of different dimensions, over d (eq. 2, right)."""
    centred = h - h.mean(0)
    matrix = centred.T @ centred / (len(h) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / h.shape[1]


def vicreg(first: Float[Tensor, "b d"], second: Float[Tensor, "b d"], gamma: float) -> Float[Tensor, ""]:
    """Sum of the three, each with weight 1 (eq. 4)."""
    spread = variance(first, gamma) + variance(second, gamma)
    return invariance(first, second) + spread + covariance(first) + covariance(second)


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with batch norm and ReLU after each but the last; the norm keeps no averages between steps."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after, track_running_stats=False), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


class Agreement(nn.Module):
    """Loss of two sets of latents of the same images, behind an expander.

    Parameters
    ----------
    dims
        Size of the latents.
    config
        Which loss, and the expander.
    """

    def __init__(self, dims: int, config: CryoNooConfig) -> None:
        super().__init__()
        self.config = config
        width = config.expander or dims
        self.expander = perceptron(dims, width, width, width) if config.expander else nn.Identity()
        is_simsiam = config.loss == "simsiam"
        self.predictor = perceptron(width, max(1, width // 4), width) if is_simsiam else None

    def forward(self, first: Float[Tensor, "b dims"], second: Float[Tensor, "b dims"]) -> Float[Tensor, ""]:
        """Return the loss."""
        a, b = self.expander(first).float(), self.expander(second).float()
        if self.predictor is not None:
            return 1 - (self._cosine(a, b) + self._cosine(b, a)) / 2
        return invariance(a, b) if self.config.loss == "invariance" else vicreg(a, b, self.config.gamma)

    def _cosine(self, predicted_from: Tensor, target: Tensor) -> Tensor:
        predicted = predicted_from if self.predictor is None else self.predictor(predicted_from).float()
        return F.cosine_similarity(predicted, target.detach()).mean()
