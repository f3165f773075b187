"""Poses of all images on a global grid, as starting points of the refinement."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.geometry.grids import so3_grid
from vitreous.methods.search.schedule import shift_grid
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.coefficients import Coefficients, CoefficientStore
from vitreous.reconstruct.expectation import References, centred_copies, posterior, score
from vitreous.reconstruct.gauss_newton import Target, refine_poses
from vitreous.typing import Float, Map, Rotations, Shifts

CANDIDATES = 3
GRID_NSIDE = 4
GRID_INPLANE = 24
POLISH_STEPS = 4


@dataclass(frozen=True)
class GlobalPoses:
    """Best pose of every image and how sure the grid was.

    Attributes
    ----------
    rotations, shifts_px
        The best of the polished candidates.
    effective_poses
        How many grid poses share the weight.
    probability
        Weight of the best grid pose.
    log_evidence
        Log of the likelihood summed over the grid's poses, up to a constant per image.
    """

    rotations: Rotations
    shifts_px: Shifts
    effective_poses: Float[Tensor, " n"]
    probability: Float[Tensor, " n"]
    log_evidence: Float[Tensor, " n"]


def search_all(
    store: CoefficientStore,
    values: Map,
    noise: Float[Tensor, " s"],
    radius: float,
    *,
    shift_share: float,
    progress: Progress,
) -> GlobalPoses:
    """Score every image on the grid inside ``radius`` and polish its best few poses by Gauss–Newton."""
    disc = store.disc
    count = disc.count(radius)
    volume = FourierVolume.from_map(values)
    shifts = shift_grid(disc.box, radius, shift_share, None)
    references = References.of(volume, so3_grid(GRID_NSIDE, GRID_INPLANE), shifts, disc, count)
    inverse_noise = (1 / noise)[disc.shell[:count]]
    target = Target(volume, disc, inverse_noise)
    found = []
    with progress.stage("Searching all particles", total=len(store)):
        for block in torch.split(torch.arange(len(store)), 256):
            whole = store.batch(block, count)
            for rows in torch.split(torch.arange(len(block)), references.images_per_chunk()):
                part = Coefficients(whole.yc[rows[0] : rows[-1] + 1], whole.c2[rows[0] : rows[-1] + 1])
                found.append(_search_chunk(part, references, target))
            progress.advance(len(block))
    columns = [torch.cat(column) for column in zip(*found, strict=True)]
    return GlobalPoses(*columns)


def _search_chunk(part: Coefficients, references: References, target: Target) -> tuple[Tensor, ...]:
    weighted_c2 = part.c2 * target.inverse_noise
    copies = centred_copies(part.yc * target.inverse_noise, references.phases)
    scores = score(copies, weighted_c2, references)
    per_rotation, best_shift = scores.max(1)
    top = per_rotation.topk(CANDIDATES, dim=1).indices
    shift = best_shift.gather(1, top)
    result = posterior(scores)
    probability = result.weights.flatten(1).amax(1)
    repeated = Coefficients(part.yc.repeat_interleave(CANDIDATES, 0), part.c2.repeat_interleave(CANDIDATES, 0))
    polished = refine_poses(
        target,
        repeated,
        references.rotations[top.reshape(-1)],
        references.shifts_px[shift.reshape(-1)],
        steps=POLISH_STEPS,
    )
    winner = polished.costs.view(-1, CANDIDATES).argmin(1) + CANDIDATES * torch.arange(len(part))
    best = (polished.rotations[winner], polished.shifts_px[winner])
    return (*best, result.effective_poses, probability, result.log_evidence)
