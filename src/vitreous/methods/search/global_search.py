"""Poses of all images on a global grid, as starting points of the refinement."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.compute.device import compute_device
from vitreous.compute.parallel import map_on_threads
from vitreous.compute.processes import current_share, pieces
from vitreous.compute.progress import Progress, SilentProgress
from vitreous.geometry.grids import so3_grid
from vitreous.methods.search.schedule import GRID_INPLANE, GRID_NSIDE, shift_grid
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct import posterior_kernels
from vitreous.reconstruct.coefficients import Coefficients, CoefficientStore
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.expectation import AnyReferences, centred_copies, cross_terms, on_device, references_of
from vitreous.reconstruct.gauss_newton import Target, refine_poses
from vitreous.reconstruct.posterior_plain import best_candidates
from vitreous.reconstruct.rings import PoseGrid
from vitreous.typing import Float, Int, Map, Rotations, Shifts

CANDIDATES = 3
POLISH_STEPS = 4
BLOCK = 512


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


class GridSearch:
    """Search of every image over a grid of rotations and shifts against one map.

    Parameters
    ----------
    store
        Coefficients of the images.
    values
        Map in the images' box.
    noise
        Noise power per shell.
    radius
        Resolution of the search in pixels of frequency.
    shift_share
        Largest shift, as a share of the box.
    estep
        How scores are computed.
    """

    def __init__(
        self,
        store: CoefficientStore,
        values: Map,
        noise: Float[Tensor, " s"],
        radius: float,
        shift_share: float,
        *,
        estep: EStep = "auto",
    ) -> None:
        disc = store.disc
        count = disc.count(radius)
        volume = FourierVolume.from_map(values)
        shifts = shift_grid(disc.box, radius, shift_share, None)
        self.store = store
        device = compute_device()
        grid = PoseGrid(so3_grid(GRID_NSIDE, GRID_INPLANE).to(device), GRID_INPLANE, shifts.to(device))
        self.references = references_of(estep, [values], grid, disc, count)
        self.target = Target(volume, disc, (1 / noise)[disc.shell[:count]])

    def run(self, progress: Progress) -> GlobalPoses:
        """Score all images and polish their best few poses by Gauss–Newton."""
        return self._search(torch.arange(len(self.store)), progress)

    def run_on(self, indices: Int[Tensor, " m"]) -> GlobalPoses:
        """Score and polish some images."""
        return self._search(indices, SilentProgress())

    def _search(self, indices: Int[Tensor, " m"], progress: Progress) -> GlobalPoses:
        """Search blocks of images; every process takes its share of them and gets the poses of all."""
        n, share = len(indices), current_share()
        columns = (torch.zeros(n, 3, 3), torch.zeros(n, 2), *torch.zeros(3, n))
        blocks = share.mine(pieces(torch.arange(n), BLOCK))
        with progress.stage("Searching all particles", total=sum(map(len, blocks))):
            for block in blocks:
                found = self._search_block(self.store.batch(indices[block], self.target.count))
                for column, values in zip(columns, found, strict=True):
                    column[block] = values
                progress.advance(len(block))
        share.sum_(*columns)
        return GlobalPoses(*columns)

    def _search_block(self, part: Coefficients) -> tuple[Tensor, ...]:
        references, target = self.references, self.target
        rows = torch.split(torch.arange(len(part)), references.images_per_chunk())
        grid_search = map_on_threads(lambda _, r: _candidates(part, r, references, target), rows)
        turn, shift, *scores = (torch.cat(column) for column in zip(*grid_search, strict=True))
        repeated = Coefficients(part.yc.repeat_interleave(CANDIDATES, 0), part.c2.repeat_interleave(CANDIDATES, 0))
        grid = (references.rotations.cpu(), references.shifts_px.cpu())
        starts = (grid[0][turn.reshape(-1)], grid[1][shift.reshape(-1)])
        polished = refine_poses(target, repeated, *starts, steps=POLISH_STEPS)
        winner = polished.costs.view(-1, CANDIDATES).argmin(1) + CANDIDATES * torch.arange(len(part))
        return (polished.rotations[winner], polished.shifts_px[winner], *scores)


def search_halves(
    store: CoefficientStore,
    members: Sequence[Int[Tensor, " h"]],
    halves: Sequence[tuple[Map, Float[Tensor, " s"]]],
    reach: tuple[float, float],
    progress: Progress,
    *,
    estep: EStep = "auto",
) -> dict[str, Tensor]:
    """Fields of :class:`GlobalPoses` for all particles, each searched against the map of its half.

    Parameters
    ----------
    store
        Coefficients of all particles.
    members
        Rows of each half; together all.
    halves
        Map, in the images' box, and noise power per shell of each half.
    reach
        Radius in pixels of frequency, and largest shift as a share of the box.
    progress
        Where to report.
    estep
        How scores are computed.
    """
    parts = []
    for rows, (values, noise) in zip(members, halves, strict=True):
        search = GridSearch(store.subset(rows, reach[0], progress), values, noise, *reach, estep=estep)
        parts.append(vars(search.run(progress)))
    order = torch.cat(list(members)).argsort()
    return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}


def _candidates(
    part: Coefficients, rows: Int[Tensor, " m"], references: AnyReferences, target: Target
) -> tuple[Tensor, ...]:
    """Best rotations and shifts of some images on the grid, and how sure it is."""
    chosen = slice(int(rows[0]), int(rows[-1]) + 1)
    weighted = Coefficients(part.yc[chosen], part.c2[chosen]).weighted(target.inverse_noise)
    weighted = on_device(weighted, references.phases.device)
    cross = cross_terms(centred_copies(weighted.yc, references.phases), len(rows), references)
    norms = references.norms(weighted.c2)
    if cross.device.type != "cpu":
        turn, shift, probability, effective, evidence = best_candidates(cross, norms, CANDIDATES)
        return turn.cpu(), shift.cpu(), effective.cpu(), probability.cpu(), evidence.cpu()
    turn, shift = torch.empty(2, len(rows), CANDIDATES, dtype=torch.int64)
    effective, probability, evidence = torch.empty(3, len(rows))
    posterior_kernels.candidates_kernel(
        cross.numpy(),
        norms.numpy(),
        turn.numpy(),
        shift.numpy(),
        (probability.numpy(), effective.numpy(), evidence.numpy()),
    )
    return turn, shift, effective, probability, evidence
