"""Training loss of the pose network and its scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.geometry.planar_maps import planar_map, relative_rotations
from vitreous.geometry.rotations import mirror_rotations
from vitreous.methods.fastar.model import Prediction
from vitreous.methods.fastar.views import Truth
from vitreous.typing import Float


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss."""

    alpha: float = 0.5
    """Reward of confidence, equation 11: confidence rises above 1 where the squared error is expected below this."""

    shift: float = 20.0
    """Weight of squared shifts (in units of the field) against squared directions."""

    either_hand: bool = True
    """Whether the better hand of the whole set counts: images cannot tell a structure from its mirror image."""

    deep: float = 0.3
    """Weight of each prediction within the decoder, from which a map is gathered, against the last one's."""


def pose_loss(
    predictions: list[Prediction], truth: Truth, coordinates: Float[Tensor, "p 3"], config: LossConfig
) -> dict[str, Tensor]:
    """Equation 11 of CryoFastAR with the better hand of each set of views.

    ``Σ C |X̄ − X|² − α log C`` over all points of all views but the slices of the reference, which are known; the
    two parts of a planar map, slice and shift, are weighted apart.
    """
    relative = relative_rotations(truth.rotations)
    targets = [planar_map(relative, torch.zeros_like(truth.shifts), coordinates)]
    if config.either_hand:
        mirrored = mirror_rotations(relative.flatten(0, 1)).view_as(relative)
        targets.append(planar_map(mirrored, torch.zeros_like(truth.shifts), coordinates))
    last = predictions[-1]
    squares = [(last.slices - target).square().sum(-1)[:, 1:] for target in targets]
    second = torch.stack([square.mean((1, 2)) for square in squares]).argmin(0).bool()
    target = torch.where(second[:, None, None, None], targets[-1], targets[0])
    depth = len(predictions)
    weights = [config.deep] * (depth - 1) + [1.0]
    losses = [w * _one(p, target, truth.shifts, config) for w, p in zip(weights, predictions) if w > 0]
    total = torch.stack(losses).sum()
    best = torch.where(second[:, None, None], squares[-1], squares[0])
    shift = (last.shifts - truth.shifts[:, :, None]).square().sum(-1).mean()
    return {"loss": total / sum(weights), "slice": best.mean(), "shift": shift.sqrt()}


def _one(prediction: Prediction, target: Tensor, shifts: Tensor, config: LossConfig) -> Tensor:
    square = (prediction.slices - target).square().sum(-1)[:, 1:]
    shifted = config.shift * (prediction.shifts - shifts[:, :, None]).square().sum(-1)
    confidence = prediction.confidences[:, 1:]
    regression = confidence * (square + shifted[:, 1:]) - config.alpha * confidence.log()
    return regression.mean() + shifted[:, 0].mean() / shifted.shape[1]


def rotation_errors(
    estimated: Float[Tensor, "b n 3 3"], true: Float[Tensor, "b n 3 3"]
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
    """F-norms ``‖R̂ − R‖`` of relative rotations of all views but the reference, for either hand of the truth.

    Take per set the hand with the smaller mean.
    """
    mirrored = mirror_rotations(true.flatten(0, 1)).view_as(true)
    pair = [(estimated - hand).flatten(-2).norm(dim=-1)[:, 1:] for hand in (true, mirrored)]
    return pair[0], pair[1]
