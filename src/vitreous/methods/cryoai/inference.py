"""Poses of a whole stack by one forward pass of a trained network, and their descent one by one."""

import torch
from torch import Tensor, nn
from torch.optim import Adam

from vitreous.compute.progress import Progress
from vitreous.data import Poses
from vitreous.geometry.rotations import rotation_from_vector
from vitreous.methods.cryoai.encoder import PoseGuesses
from vitreous.methods.cryoai.images import ImageReader
from vitreous.methods.cryoai.losses import chosen, squared_residuals
from vitreous.methods.cryoai.training import Network

_BATCH, _POINTS = 256, 1 << 17
"""Images at a time, and points of the map at which gradients are kept."""

_LEVER = 0.25
"""Distance from the centre, in boxes, at which a turn moves a point as far as the descent's shift does."""


def poses_of(network: Network, reader: ImageReader, progress: Progress) -> Poses:
    """Best pose of every image, of those that compete, and refined where ``polish_steps`` says so."""
    device, config = network.kxy.device, network.config
    count = len(network.kxy)
    rotations, shifts = [], []
    at_once = max(1, min(_BATCH, _POINTS // count)) if config.polish_steps else _BATCH
    with progress.stage("Predicting poses", total=len(reader)):
        for rows in torch.arange(len(reader)).split(at_once):
            batch = {name: value.to(device) for name, value in vars(reader.views(rows)).items()}
            with torch.no_grad():
                guesses = network.guesses(batch["inputs"])
            if guesses.count > 1:
                guesses = chosen(guesses, network.best(guesses, batch, count))
            if config.polish_steps:
                guesses = polished(network, guesses, batch, config.polish_steps)
            rotations.append(guesses.rotations[:, 0].cpu())
            shifts.append(guesses.shifts[:, 0].cpu())
            progress.advance(len(rows))
    return Poses(torch.cat(rotations), torch.cat(shifts) * reader.box * reader.pixel_size_A)


def polished(network: Network, guesses: PoseGuesses, batch: dict[str, Tensor], steps: int) -> PoseGuesses:
    """Descend on turns and shifts of every image by itself, with Adam, the map held; the best on the way is kept.

    Parameters
    ----------
    network
        Its map.
    guesses
        One pose of every image.
    batch
        ``values`` and ``ctf`` of the images.
    steps
        How many.
    """
    count, zeros = len(network.kxy), torch.zeros_like
    turns, moves = (nn.Parameter(zeros(guesses.shifts.new_empty(len(guesses.shifts), n))) for n in (3, 2))
    optimizer = Adam([turns, moves], lr=network.config.polish_learning_rate)
    best, least = guesses, torch.full((len(turns),), torch.inf, device=turns.device)
    for _ in range(steps + 1):
        rotations = rotation_from_vector(turns) @ guesses.rotations[:, 0]
        moved = PoseGuesses(rotations[:, None], guesses.shifts + _LEVER * moves[:, None])
        residual = squared_residuals(network.predicted(moved, batch["ctf"], count), batch["values"])[:, 0]
        better = (residual.detach() < least)[:, None, None]
        best = PoseGuesses(
            torch.where(better[..., None], moved.rotations.detach(), best.rotations),
            torch.where(better, moved.shifts.detach(), best.shifts),
        )
        least = torch.minimum(least, residual.detach())
        turns.grad, moves.grad = torch.autograd.grad(residual.sum(), (turns, moves))
        optimizer.step()
    return best
