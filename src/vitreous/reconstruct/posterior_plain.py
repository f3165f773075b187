"""Twins of :mod:`vitreous.reconstruct.posterior_kernels` in torch operations: the path on a GPU."""

import torch
from torch import Tensor

from vitreous.reconstruct.posterior_kernels import FLAT_CUT, LOG_CUT, WEIGHT_CUT
from vitreous.typing import Float, Int


def kept_weights(
    cross: Float[Tensor, "m t r"], norms: Float[Tensor, "m r"], sharpness: float
) -> tuple[Float[Tensor, "m t r"], tuple[Int[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, " m"]]]:
    """Weights of the poses that carry weight, summing to 1; best pose, effective number of poses and log evidence."""
    peak, best, near, total, effective = _near_the_peak(cross, norms, sharpness)
    cut = (WEIGHT_CUT * total).clamp_max(FLAT_CUT)
    kept = torch.where(near >= cut[:, None], near, 0.0)
    kept /= kept.sum(1, keepdim=True)
    return kept.view_as(cross), (best, effective, sharpness * peak + total.log())


def best_candidates(
    cross: Float[Tensor, "m t r"], norms: Float[Tensor, "m r"], margin: tuple[float, float], most: int
) -> tuple[Tensor, ...]:
    """Rotations within a margin of each image's best, with their best shifts, best first.

    Returns
    -------
    tuple of Tensor
        Rotation and shift ``[m, c]`` and how many of the c count ``[m]``; effective poses, weight of the best pose and
        log evidence ``[m]``.
    """
    peak, _, _, total, effective = _near_the_peak(cross, norms, 1.0)
    highest, shift = cross.max(1)
    scores, turn = (2 * highest - norms).topk(min(most, norms.shape[1]), 1)
    floor = peak - margin[0] - margin[1] * peak.clamp_min(0)
    counts = (scores >= floor[:, None]).sum(1)
    return turn, shift.gather(1, turn), counts, effective, 1 / total, peak + total.log()


def _near_the_peak(
    cross: Float[Tensor, "m t r"], norms: Float[Tensor, "m r"], sharpness: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Peak, best pose, unnormalised weights above e⁻¹⁶ of the peak's, their sum, and effective number of poses."""
    scores = (2 * cross - norms[:, None]).flatten(1)
    peak, best = scores.max(1)
    scores.sub_(peak[:, None]).mul_(sharpness)
    near = torch.where(scores > -LOG_CUT, scores.exp(), 0.0)
    total = near.sum(1)
    return peak, best, near, total, total.square() / near.square().sum(1)
