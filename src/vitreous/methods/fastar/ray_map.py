"""A map of the particle made of the rays of all views, at the directions that their poses of the moment give them.

Poses that are only roughly right are enough to average noise away: a view compared with what all other views say is
compared with far less noise than with the reference alone. A step of expectation maximisation, as in projection
matching (Penczek et al., Ultramicroscopy 1994), within the network.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitreous.geometry.grids import fibonacci_directions
from vitreous.geometry.planar_maps import line_angles, line_directions
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.rays import CORRELATION
from vitreous.nn.attention import softmax
from vitreous.typing import Float

_CONCENTRATION = 40.0
"""First concentration of the kernel around each direction of the map: a standard deviation of 9°."""
_SHARPNESS = 12.0
"""Of the choice among directions to begin with: a correlation coefficient higher by 0.1 is 3.3 times as likely."""


@dataclass(frozen=True)
class RoughPoses:
    """Poses of the moment, without gradients.

    Attributes
    ----------
    rotations
        ``R_1 R_iᵀ`` ``[b, n, 3, 3]``.
    shifts
        In units of the field ``[b, n, 2]``.
    weights
        How far each view is trusted ``[b, n]``.
    """

    rotations: Float[Tensor, "b n 3 3"]
    shifts: Float[Tensor, "b n 2"]
    weights: Float[Tensor, "b n"]


@dataclass(frozen=True)
class Gathered:
    """Weighted sums of rays at each direction of the map, of every view or of all together.

    Attributes
    ----------
    values
        Real parts of all shells, then imaginary ones ``[…, g, 2s]``.
    weights
        ``[…, g]``.
    """

    values: Float[Tensor, "*b g c"]
    weights: Float[Tensor, "*b g"]

    def views(self, rows: slice) -> "Gathered":
        """Return some of the views."""
        return Gathered(self.values[:, rows], self.weights[:, rows])

    def __add__(self, other: "Gathered") -> "Gathered":
        """Sum of two parts."""
        return Gathered(self.values + other.values, self.weights + other.weights)

    def float(self) -> "Gathered":
        """Return the same in float32, for sums of many."""
        return Gathered(self.values.float(), self.weights.float())

    def total(self) -> "Gathered":
        """Sum over the views."""
        return Gathered(self.values.sum(1), self.weights.sum(1))


class RayMap(nn.Module):
    """Gathers rays on a half sphere of directions, and compares rays with what is there.

    Parameters
    ----------
    width
        Features of a token.
    config
        Architecture of the network.
    """

    directions: Tensor
    rays: Tensor

    def __init__(self, width: int, config: ModelConfig) -> None:
        super().__init__()
        self.group, self.points = config.group, config.map_directions
        self.register_buffer("directions", fibonacci_directions(2 * self.points)[: self.points], persistent=False)
        self.register_buffer("rays", line_directions(line_angles(config.lines)), persistent=False)
        self.log_concentration = nn.Parameter(torch.tensor(math.log(_CONCENTRATION)))
        self.bands = nn.Parameter(_first_bands(config.map_filters, config.shells))
        self.log_sharpness = nn.Parameter(torch.full((config.map_filters,), math.log(_SHARPNESS)))
        self.describe = nn.Linear(config.map_filters * self.group * 2 * self.points, width)
        self.vote = nn.Linear(config.map_filters * self.group * 6, width)
        for layer in (self.describe, self.vote):
            nn.init.zeros_(layer.weight)

    def gather(self, parts: Float[Tensor, "b n r s 2"], poses: RoughPoses) -> Gathered:
        """Return what each view, its rays whitened and centred, says of each direction."""
        cosines = (self.rays @ poses.rotations.mT) @ self.directions.T
        concentration = self.log_concentration.exp()
        kernel, opposite = (
            torch.exp(concentration * (c - 1)) * poses.weights[..., None, None] for c in (cosines, -cosines)
        )
        values = torch.cat([(kernel + opposite).mT @ parts[..., 0], (kernel - opposite).mT @ parts[..., 1]], -1)
        return Gathered(values, (kernel + opposite).sum(-2))

    def compare(
        self, parts: Float[Tensor, "b n r s 2"], total: Gathered, own: Gathered | None = None
    ) -> Float[Tensor, "b n t w"]:
        """Describe how the rays of each view match the map, without the view's own share in it."""
        values, weights = total.values[:, None], total.weights[:, None]
        if own is not None:
            values, weights = values - own.values, weights - own.weights
        mean = values / (weights + 0.3 * weights.mean(-1, keepdim=True) + 1e-6)[..., None]
        found = self.correlate(parts, mean.unflatten(-1, (2, -1)))
        votes = self._votes(found)
        return self.describe(_by_token(found, self.group)) + self.vote(_by_token(votes, self.group))

    def correlate(
        self, parts: Float[Tensor, "b n r s 2"], mean: Float[Tensor, "b m g 2 s"]
    ) -> Float[Tensor, "b n r f h"]:
        """Return the correlation coefficients of rays with the map, per band; the directions, then their opposites."""
        power = parts.square().sum((3, 4), keepdim=True).clamp_min(1e-12)
        unit = (CORRELATION * power.rsqrt() * parts)[..., None, :, :] * self.bands
        norm = (mean.square().sum((3, 4), keepdim=True) + 1e-12).sqrt()
        there = mean / (norm + 0.1 * norm.mean(2, keepdim=True))
        both = torch.cat([there, there * there.new_tensor([[1.0], [-1.0]])], 2)  # an opposite ray is the conjugate
        flat = unit.mT.flatten(4).flatten(2, 3) @ both.flatten(3).expand(-1, parts.shape[1], -1, -1).mT
        return flat.unflatten(2, (-1, len(self.bands)))

    def _votes(self, found: Float[Tensor, "b n r f h"]) -> Float[Tensor, "b n r f 6"]:
        """Return where the map says that each ray is, and where all rays of the view together say so.

        A view's rays lie in a plane: the sum of the outer products of places and rays is a multiple of the first two
        columns of its rotation, spread by what the rays disagree about.
        """
        directions = torch.cat([self.directions, -self.directions])
        sharpness = (self.log_sharpness.exp() / CORRELATION).to(found.dtype)
        likely = softmax(found * sharpness[:, None])
        place = likely @ directions
        moment = torch.einsum("bnrfi,rj->bnfij", place, self.rays) * (2 / len(self.rays))
        return torch.cat([place, torch.einsum("bnfij,rj->bnrfi", moment, self.rays)], -1)


def _by_token(of_rays: Float[Tensor, "b n r f c"], group: int) -> Float[Tensor, "b n t e"]:
    return of_rays.unflatten(2, (-1, group)).flatten(3)


def _first_bands(bands: int, shells: int) -> Float[Tensor, "f s 2"]:
    """Weights of real and imaginary parts that fall off with frequency, the first band narrowest, the last flat."""
    k = torch.arange(1, shells + 1) / shells
    widths = torch.arange(1, bands + 1) / bands
    return torch.exp(-((k / widths[:, None]) ** 2) * (1 - widths[:, None]) * 4)[..., None].repeat(1, 1, 2)
