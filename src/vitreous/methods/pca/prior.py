"""What is known of a mean and principal maps beforehand, learned in the same rounds as they are.

A map has a power per shell of Fourier space: shells without signal vanish. And it has a support: what the mean map
shows, at some distance from the box centre, beyond the noise that is left in it. A map inside a support that is a share
``f`` of the box has ``f n³`` independent coefficients instead of ``n³``, so that each is seen ``1 / f`` times as well.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.fourier.shells import radial_power, shell_sums
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct.backprojection import shell_weights, solve
from vitreous.reconstruct.masks import radii, sphere_mask
from vitreous.typing import Float, Map

_EDGE_VOXELS = 3.0
_TINY = 1e-12


@dataclass(frozen=True)
class Support:
    """By how much density is believed.

    Attributes
    ----------
    weights
        From 0 to 1, ``[z, y, x]``.
    """

    weights: Map

    @classmethod
    def ball(cls, box: int) -> "Support":
        """All that any orientation shows."""
        return cls(sphere_mask(box, box / 2, _EDGE_VOXELS))

    @property
    def share(self) -> float:
        """Independent numbers in a map, over voxels in the box; at least one number."""
        return max(float(self.weights.square().mean()), 1 / self.weights.numel())

    def within(self, mean: Map, noise: float) -> "Support":
        """What a mean map shows at each distance from the centre beyond its noise: ``1 − noise / power`` (Wiener).

        A hollow particle is not hollow in each of its states: weights never rise with the distance.

        Parameters
        ----------
        mean
            Before any support.
        noise
            Variance of its voxels.
        """
        outermost = len(mean) // 2  # shells beyond are cut off by the faces of the box, and of few voxels
        shell = radii(len(mean)).round().long().clamp_max(outermost)
        power = torch.bincount(shell.flatten(), mean.flatten().double().square()) / torch.bincount(shell.flatten())
        signal = (1 - noise / power.clamp_min(_TINY * noise + _TINY**2)).clamp(0, 1)
        monotone = signal.flip(0).cummax(0).values.flip(0)
        return Support(self.weights * monotone[shell].float())


@dataclass(frozen=True)
class Solved:
    """A map that was solved for, before any support, and the variance that noise leaves in its voxels."""

    values: Map
    noise: float


def solve_with_prior(total: SliceAccumulator, old: Map, support: Support) -> Solved:
    """Solve for a map whose power per shell is that of its last version and of what the data left uncertain of it.

    Parameters
    ----------
    total
        Sums of its slices.
    old
        The last version, 0 where there is none; then there is no prior.
    support
        Of the last version.
    """
    padded_voxels = total.padding**3  # per coefficient of a map on its own grid
    weights = shell_weights(total) * padded_voxels / support.share
    power = radial_power(old)
    if bool(power.any()):
        inverse = 1 / (power + 1 / (weights + 1 / power.clamp_min(_TINY)))
        inverse[0] = 0.0
    else:
        inverse = torch.zeros_like(power)
    values = solve(total, prior=inverse * support.share / padded_voxels)
    return Solved(values, _variance(weights, inverse, support.share, len(old)))


def _variance(weights: Float[Tensor, " s"], inverse: Float[Tensor, " s"], share: float, box: int) -> float:
    """Variance of a voxel by Parseval's theorem: noise of ``w / (w + inverse)²`` per coefficient inside a support."""
    each = weights / (weights + inverse).clamp_min(_TINY).square() / share
    counts = shell_sums(torch.ones(box, box, box // 2 + 1), box)
    return float((counts * each).sum()) / box**6
