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
from vitreous.methods.fastar.rays import Rays
from vitreous.typing import Float

_CONCENTRATION = 40.0
"""First concentration of the kernel around each direction of the map: a standard deviation of 9°."""


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

    def views(self, rows: slice) -> "RoughPoses":
        """Return some of the views."""
        return RoughPoses(self.rotations[:, rows], self.shifts[:, rows], self.weights[:, rows])


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
        self.filters = nn.Parameter(_map_filters(config.map_filters, config.shells))
        self.describe = nn.Linear(config.map_filters * self.group * self.points, width)
        nn.init.zeros_(self.describe.weight)

    def gather(self, rays: Rays, poses: RoughPoses) -> Gathered:
        """Return what each view says of each direction."""
        cosines = (self.rays @ poses.rotations.mT) @ self.directions.T
        concentration = self.log_concentration.exp()
        kernel, opposite = (
            torch.exp(concentration * (c - 1)) * poses.weights[..., None, None] for c in (cosines, -cosines)
        )
        parts = rays.recentred(poses.shifts)
        values = torch.cat([(kernel + opposite).mT @ parts[..., 0], (kernel - opposite).mT @ parts[..., 1]], -1)
        return Gathered(values, (kernel + opposite).sum(-2))

    def compare(
        self, rays: Rays, poses: RoughPoses, total: Gathered, own: Gathered | None = None
    ) -> Float[Tensor, "b n t w"]:
        """Describe how the rays of each view match the map, without the view's own share in it."""
        values, weights = total.values[:, None], total.weights[:, None]
        if own is not None:
            values, weights = values - own.values, weights - own.weights
        typical = weights.mean(-1, keepdim=True)
        mean = values / (weights + 0.3 * typical + 1e-6)[..., None]
        parts = rays.recentred(poses.shifts)
        filtered = torch.einsum("mkij,bnrki->bnrmjk", self.filters, parts).flatten(4)
        found = filtered.flatten(2, 3) @ mean.expand(-1, parts.shape[1], -1, -1).mT
        found = found.unflatten(2, (-1, self.group, len(self.filters))) / math.sqrt(parts.shape[-2] * 2)
        return self.describe(found.flatten(3))


def _map_filters(filters: int, shells: int) -> Float[Tensor, "m s 2 2"]:
    """Filters in pairs, for a direction and the one opposite to it, with bands that widen from pair to pair."""
    k = torch.arange(1, shells + 1).float()
    band = torch.exp(-((k / shells) ** 2) * 4.0 / (1 + torch.arange((filters + 1) // 2))[:, None] ** 2)
    both = torch.stack([torch.diag(torch.tensor([1.0, sign])) for sign in (1.0, -1.0)])
    return (band[:, None, :, None, None] * both[None, :, None]).flatten(0, 1)[:filters].clone()
