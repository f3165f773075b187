"""What is known of a mean and principal maps beforehand, learned in the same rounds as they are.

A map has a power per shell of Fourier space: shells without signal vanish. And it has a support: what the mean map
shows, at some distance from the box centre, beyond the noise that is left in it. A map inside a support that is a share
``f`` of the box has ``f n³`` independent coefficients instead of ``n³``, so that each is seen ``1 / f`` times as well.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.fourier.shells import radial_power, shell_sums
from vitreous.physics.linear_sums import LinearSums
from vitreous.reconstruct.masks import radii, sphere_mask
from vitreous.typing import Float, Map

_EDGE_VOXELS = 3.0
_TINY = 1e-12
_FLOOR = 1e-3
"""Share of the shell's mean weight that is added to a voxel's, which tames those that no slice came near."""


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
    """Maps that were solved for, before any support, and the variance that noise leaves in voxels of the first."""

    values: Float[Tensor, "maps z y x"]
    noise: float


def solve_with_prior(sums: LinearSums, old: Float[Tensor, "maps z y x"], support: Support) -> Solved:
    """Solve for maps whose power per shell is that of their last versions and of what the data left uncertain of them.

    Parameters
    ----------
    sums
        Of the slices, with the moments of the latents.
    old
        The last versions. A map that is 0 has none, and so no prior.
    support
        Of the last versions.
    """
    padded_voxels = sums.padding**3  # per coefficient of a map on its own grid
    seen = sums.shell_weights()
    weights = seen * padded_voxels / support.share
    power = torch.stack([radial_power(each) for each in old])[:, : weights.shape[1]]
    inverse = 1 / (power + 1 / (weights.clamp_min(_TINY) + 1 / power.clamp_min(_TINY)))
    inverse *= power.any(1, keepdim=True)
    values = sums.solve(inverse * support.share / padded_voxels + _FLOOR * seen)
    return Solved(values, _variance(weights[0], inverse[0], support.share, len(old[0])))


def _variance(weights: Float[Tensor, " s"], inverse: Float[Tensor, " s"], share: float, box: int) -> float:
    """Variance of a voxel by Parseval's theorem: noise of ``w / (w + inverse)²`` per coefficient inside a support."""
    each = weights / (weights + inverse).clamp_min(_TINY).square() / share
    counts = shell_sums(torch.ones(box, box, box // 2 + 1), box)
    return float((counts * each).sum()) / box**6
