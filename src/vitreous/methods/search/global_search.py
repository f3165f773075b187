"""Poses of all images on a global grid, as starting points of the refinement."""

import math
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
from vitreous.reconstruct import posterior_kernels
from vitreous.reconstruct.coefficients import Coefficients, CoefficientStore
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.expectation import AnyReferences, centred_copies, cross_terms, references_of
from vitreous.reconstruct.gauss_newton import RefinedPoses, refine_poses
from vitreous.reconstruct.posterior_plain import best_candidates
from vitreous.reconstruct.rings import PoseGrid
from vitreous.reconstruct.target import Target
from vitreous.typing import Float, Int, Map, Rotations, Shifts

MOST_CANDIDATES = 60
"""Rotations of the grid, per image, that are polished."""

MARGIN = (7.0, 0.2)
"""Candidates fall short of the best pose by 7 nats (0.1 % of its weight) and a fifth of its gain at most: the grid is
coarse, and what lies between its poses may be better than what happens to lie on one."""

RUNGS = ((2, 6.0), (2, 4.0), (4, 3.0))
"""Steps of the polish on the radius of the grid, half-way, and on the fine one; and how far apart, in degrees, two
candidates have to be after it to stay two. Most climb to a neighbour's pose on the first rung, the cheapest."""

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
    lead
        By how much the best of the polished candidates is more likely, in nats, than the next that is another pose;
        infinite where none came near.
    """

    rotations: Rotations
    shifts_px: Shifts
    effective_poses: Float[Tensor, " n"]
    probability: Float[Tensor, " n"]
    log_evidence: Float[Tensor, " n"]
    lead: Float[Tensor, " n"]


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
    fine_radius
        Radius of the last steps of the polish; that of the search by default.
    estep
        How scores are computed.
    most_candidates
        Rotations of the grid, per image, that are polished.
    """

    def __init__(
        self,
        store: CoefficientStore,
        values: Map,
        noise: Float[Tensor, " s"],
        radius: float,
        shift_share: float,
        *,
        fine_radius: float | None = None,
        estep: EStep = "auto",
        most_candidates: int = MOST_CANDIDATES,
    ) -> None:
        disc = store.disc
        count = disc.count(radius)
        shifts = shift_grid(disc.box, radius, shift_share, None)
        self.store, self.most_candidates = store, most_candidates
        device = compute_device()
        grid = PoseGrid(so3_grid(GRID_NSIDE, GRID_INPLANE).to(device), GRID_INPLANE, shifts.to(device))
        self.references = references_of(estep, [values], grid, disc, count)
        fine = radius if fine_radius is None else max(radius, fine_radius)
        finest = Target.of(values, disc, noise, fine)
        self.targets = [finest.inside(reach) for reach in (radius, (radius * fine) ** 0.5, fine)]

    def run(self, progress: Progress) -> GlobalPoses:
        """Score all images and polish their best few poses by Gauss–Newton."""
        return self._search(torch.arange(len(self.store)), progress)

    def run_on(self, indices: Int[Tensor, " m"]) -> GlobalPoses:
        """Score and polish some images."""
        return self._search(indices, SilentProgress())

    def _search(self, indices: Int[Tensor, " m"], progress: Progress) -> GlobalPoses:
        """Search blocks of images; every process takes its share of them and gets the poses of all."""
        n, share = len(indices), current_share()
        columns = (torch.zeros(n, 3, 3), torch.zeros(n, 2), *torch.zeros(4, n))
        blocks = share.mine(pieces(torch.arange(n), BLOCK))
        with progress.stage("Searching all particles", total=sum(map(len, blocks))):
            for block in blocks:
                found = self._search_block(self.store.device_batch(indices[block], self.targets[-1].count))
                for column, values in zip(columns, found, strict=True):
                    column[block] = values
                progress.advance(len(block))
        share.sum_(*columns)
        return GlobalPoses(*columns)

    def _search_block(self, part: Coefficients) -> tuple[Tensor, ...]:
        references, coarse = self.references, self.targets[0]
        rows = torch.split(torch.arange(len(part)), references.images_per_chunk())
        most = self.most_candidates
        grid_search = map_on_threads(lambda _, r: _candidates(part, r, references, coarse, most), rows)
        images, turn, shift, *scores = (torch.cat(column) for column in zip(*grid_search, strict=True))
        poses = (references.rotations.cpu()[turn], references.shifts_px.cpu()[shift])
        for target, (steps, apart_deg) in zip(self.targets, RUNGS, strict=True):
            polished = refine_poses(target, part, *poses, steps=steps, images=images)
            kept = _still_likely(polished, images, apart_deg)
            poses, images = (polished.rotations[kept], polished.shifts_px[kept]), images[kept]
        best = torch.searchsorted(images, torch.arange(len(part)))
        return (poses[0][best], poses[1][best], *scores, _lead(polished.costs[kept], best))


def search_halves(
    store: CoefficientStore,
    members: Sequence[Int[Tensor, " h"]],
    halves: Sequence[tuple[Map, Float[Tensor, " s"]]],
    reach: tuple[float, float],
    progress: Progress,
    *,
    estep: EStep = "auto",
    most_candidates: int = MOST_CANDIDATES,
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
    estep, most_candidates
        How scores are computed, and how many rotations per image are polished.
    """
    parts = []
    for rows, (values, noise) in zip(members, halves, strict=True):
        part = store.subset(rows, reach[0], progress)
        search = GridSearch(part, values, noise, *reach, estep=estep, most_candidates=most_candidates)
        parts.append(vars(search.run(progress)))
    order = torch.cat(list(members)).argsort()
    return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}


def _candidates(
    part: Coefficients, rows: Int[Tensor, " m"], references: AnyReferences, target: Target, most: int
) -> tuple[Tensor, ...]:
    """Images, rotations and shifts of the likely poses on the grid; then how sure it is of each image's."""
    chosen = slice(int(rows[0]), int(rows[-1]) + 1)
    n = target.count
    weighted = Coefficients(part.yc[chosen, :n], part.c2[chosen, :n]).weighted(target.inverse_noise)
    cross = cross_terms(centred_copies(weighted.yc, references.phases), len(rows), references)
    turn, shift, counts, *scores = _listed(cross, references.norms(weighted.c2), most)
    listed = torch.arange(turn.shape[1]) < counts[:, None]
    return rows.repeat_interleave(counts), turn[listed], shift[listed], *scores


def _listed(cross: Float[Tensor, "m t r"], norms: Float[Tensor, "m r"], most: int) -> tuple[Tensor, ...]:
    """Rotations and shifts ``[m, c]`` of the likely poses and how many each image has, then how sure it is of them."""
    if cross.device.type != "cpu":
        return tuple(part.cpu() for part in best_candidates(cross, norms, MARGIN, most))
    images = len(cross)
    turn, shift = torch.zeros(2, images, most, dtype=torch.int64)
    counts = torch.empty(images, dtype=torch.int64)
    effective, probability, evidence = torch.empty(3, images)
    posterior_kernels.candidates_kernel(
        cross.numpy(),
        norms.numpy(),
        MARGIN,
        (turn.numpy(), shift.numpy(), counts.numpy()),
        (probability.numpy(), effective.numpy(), evidence.numpy()),
    )
    return turn, shift, counts, effective, probability, evidence


def _still_likely(found: RefinedPoses, images: Int[Tensor, " c"], apart_deg: float) -> Int[Tensor, " k"]:
    """Candidates within the margin of their image's best, one of those that climbed to the same pose; best first."""
    by_cost = torch.argsort(found.costs, stable=True)
    order = by_cost[torch.argsort(images[by_cost], stable=True)]
    costs, owners = found.costs[order], images[order]
    first = torch.searchsorted(owners, owners)
    lowest = costs[first]
    keep = costs <= lowest + MARGIN[0] + MARGIN[1] * (-lowest).clamp_min(0)
    least_trace = 1 + 2 * math.cos(math.radians(apart_deg))
    posterior_kernels.distinct_kernel(found.rotations[order].numpy(), first.numpy(), least_trace, keep.numpy())
    return order[keep]


def _lead(costs: Float[Tensor, " c"], best: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Distance in cost from each image's best candidate to its second; those of an image are in order."""
    end = torch.cat([best[1:], torch.tensor([len(costs)])])
    second = costs[(best + 1).clamp_max(len(costs) - 1)]
    return torch.where(best + 1 < end, second - costs[best], torch.inf)
