"""Gold-standard refinement: two half-sets, each against its own map, at a radius that the FSC allows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vitreous.compute.device import compute_device
from vitreous.compute.processes import current_share, pieces
from vitreous.compute.progress import Progress
from vitreous.constants import FSC_GOLD_STANDARD
from vitreous.data import Volume
from vitreous.fourier.filters import low_pass
from vitreous.fourier.resize import resize_map
from vitreous.fourier.shells import crossing_shell, fsc
from vitreous.geometry.rotations import vector_from_rotation
from vitreous.geometry.symmetry import point_group
from vitreous.physics.shifts import disc_phases
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct.align_maps import drift_between, rotate_map
from vitreous.reconstruct.backprojection import shell_weights, solve, symmetry_copies, working_box
from vitreous.reconstruct.coefficients import Coefficients, CoefficientStore
from vitreous.reconstruct.gauss_newton import RefinedPoses, pose_costs, refine_poses
from vitreous.reconstruct.known_poses import grid_copies
from vitreous.reconstruct.masks import auto_mask, sphere_mask
from vitreous.reconstruct.target import Target
from vitreous.typing import Bool, Float, Int, Map, Rotations, Shifts

RADIUS_GROWTH = 1.35
RADIUS_MARGIN = 3.0
"""Poses are refined a little beyond the FSC's crossing: the halves are independent, so noise there cannot feed back."""

STEPS_PER_ROUND = 3
CHUNK = 256
"""Images that are refined and inserted together."""

GPU_CHUNK_VALUES = 10_000_000
"""Coefficients of images that are handled together on a GPU; insertion takes about 150 bytes for each."""

MASK_SHARE = 1.15
PATIENCE = 2
LARGEST_DRIFT_RAD = 0.1
"""Phase at the particle's edge, at the current radius, that independent halves may have between them."""

BOX_REACH, SMALL_SHARE = 1.6, 0.67
"""Maps of a round go 1.6 times as far as its radius, more than the next one can grow; where a box of two thirds of the
images' or less holds that, they are made in such a box: most of the time of a large box would go into its transforms,
masks and turns."""

LEAST_PROGRESS = 0.25
"""Refinement stops after two rounds that bring less than a quarter of a shell."""


@dataclass(frozen=True)
class RefinementSettings:
    """What a refinement needs to know of the particles.

    Attributes
    ----------
    diameter_px
        Diameter of the particle in pixels.
    symmetry
        Point group.
    rounds
        Largest number of rounds.
    start_radius
        Radius of the first round, in pixels of frequency.
    realign
        Whether the halves may drift apart, because they share nothing: the second is then brought back onto the
        first after every round.
    """

    diameter_px: float
    symmetry: str
    rounds: int
    start_radius: float
    realign: bool = False


@dataclass(frozen=True)
class RefinementState:
    """Poses, half-maps and noise between two rounds.

    Attributes
    ----------
    rotations, shifts_px, costs
        Poses of all particles and their costs.
    references
        Map of each half, ``[2, z, y, x]``, in units of unitary image coefficients.
    noise
        Noise power per shell.
    curve
        FSC of the raw half-maps inside the particle's sphere (zero before the first round).
    doubtful
        Particles that other poses could explain as well, as far as is known.
    rounds, idle
        Rounds done, and how many of the last ones brought nothing.
    best_shell
        Furthest crossing of FSC 0.143 so far.
    radius, last_radius
        Radius of the next and of the last round.
    """

    rotations: Rotations
    shifts_px: Shifts
    costs: Float[Tensor, " n"]
    references: tuple[Map, Map]
    noise: Float[Tensor, " s"]
    radius: float
    curve: Float[Tensor, " shells"]
    doubtful: Bool[Tensor, " n"]
    rounds: int = 0
    idle: int = 0
    best_shell: float = 0.0
    last_radius: float = 0.0

    def metrics(self) -> dict[str, Any]:
        """Numbers worth a line in the log."""
        return {"round": self.rounds, "radius": self.last_radius, "shell_at_fsc_0.143": self.best_shell}

    def tensors(self) -> dict[str, Tensor]:
        """Everything, as tensors to save."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        numbers = torch.tensor([float(getattr(self, name)) for name in _NUMBERS], dtype=torch.float64)
        return arrays | {"numbers": numbers, "first": self.references[0], "second": self.references[1]}

    @staticmethod
    def from_tensors(saved: dict[str, Tensor]) -> "RefinementState":
        """Inverse of :meth:`tensors`."""
        radius, rounds, idle, best_shell, last_radius = saved["numbers"].tolist()
        return RefinementState(
            rotations=saved["rotations"],
            shifts_px=saved["shifts_px"],
            costs=saved["costs"],
            references=(saved["first"], saved["second"]),
            noise=saved["noise"],
            curve=saved["curve"],
            doubtful=saved["doubtful"],
            radius=radius,
            rounds=int(rounds),
            idle=int(idle),
            best_shell=best_shell,
            last_radius=last_radius,
        )


_ARRAYS = ("rotations", "shifts_px", "costs", "noise", "curve", "doubtful")
_NUMBERS = ("radius", "rounds", "idle", "best_shell", "last_radius")


class Refinement:
    """Rounds of pose refinement and back-projection over all particles."""

    def __init__(self, store: CoefficientStore, half_sets: Int[Tensor, " n"], settings: RefinementSettings) -> None:
        self.store, self.settings, self.half_sets = store, settings, half_sets
        self.members = [torch.nonzero(half_sets == number)[:, 0] for number in (1, 2)]
        box = store.disc.box
        self.mask = particle_mask(box, settings.diameter_px)
        self.largest_radius = float(store.disc.radius[-1])

    def run(
        self,
        state: RefinementState,
        progress: Progress,
        after_round: Callable[[RefinementState], None],
        revisions: Mapping[int, Callable[[RefinementState], RefinementState]] | None = None,
    ) -> RefinementState:
        """Refine until the resolution stops improving or the rounds are used up.

        ``revisions`` change the poses once a number of rounds is done.
        """
        revise = {} if revisions is None else revisions
        with progress.stage("Refining", total=self.settings.rounds - state.rounds):
            while not self._is_finished(state):
                refined = self.round(revise[state.rounds](state) if state.rounds in revise else state)
                shell = self._crossing(refined)
                growing = self._next_radius(state.radius, shell) > state.radius + 0.5
                improved = growing or shell > state.best_shell + LEAST_PROGRESS
                state = replace(
                    refined,
                    rounds=state.rounds + 1,
                    idle=0 if improved else state.idle + 1,
                    best_shell=max(state.best_shell, shell),
                    radius=self._next_radius(state.radius, shell),
                    last_radius=state.radius,
                )
                after_round(state)
                progress.advance()
        return state

    def _is_finished(self, state: RefinementState) -> bool:
        at_limit = state.radius <= state.last_radius + 0.5
        return state.rounds >= self.settings.rounds or (at_limit and state.idle >= PATIENCE)

    def round(self, state: RefinementState, weights: Float[Tensor, " n"] | None = None) -> RefinementState:
        """Refine all poses inside ``state.radius``, then make new half-maps, noise and FSC.

        With weights, every particle counts by its own, and those of weight 0 are left as they are.
        """
        weights = torch.ones(len(self.store)) if weights is None else weights
        (rotations, shifts, costs), residual, accumulators = self._refined(state, weights)
        box, full, share = accumulators[0].box, self.store.disc.box, current_share()
        sphere, voxel_px = self._sphere(box), full / box
        raw = [solve(a) * sphere for a in accumulators]
        move = share.from_first(self._drift(raw, state.radius) if self.settings.realign else None)
        if move is not None:
            mine = self.members[1]
            raw[1] = rotate_map(Volume(raw[1], voxel_px), *move).values
            rotations[mine] = rotations[mine] @ move[0].T
            shifts[mine] += (rotations[mine] @ move[1])[:, :2]
        solvent = self._solvent_mask(raw, state.radius) * sphere
        curve = _of_the_particle(fsc(raw[0], raw[1]).float(), float(sphere.sum() / solvent.sum()))
        curve = share.from_first(curve)
        first, second = (self._regularised(a, curve, solvent) for a in accumulators)
        if move is not None:
            second = rotate_map(Volume(second, voxel_px), *move).values
        if box < full:
            first, second = resize_map(first, full), resize_map(second, full)
        known = min(len(curve), len(state.curve))
        return replace(
            state,
            rotations=rotations,
            shifts_px=shifts,
            costs=costs,
            references=(first, second),
            noise=self._noise(state.noise, residual, int(state.radius)),
            curve=torch.cat([curve[:known], torch.zeros(len(state.curve) - known)]),
        )

    def _box(self, radius: float) -> int:
        """Box of the maps of a round."""
        full = self.store.disc.box
        small = working_box(min(BOX_REACH * radius, self.largest_radius))
        return small if small <= SMALL_SHARE * full else full

    def _sphere(self, box: int) -> Map:
        """Soft sphere around the particle in a box over the field of the images."""
        full = self.store.disc.box
        return self.mask if box == full else particle_mask(box, self.settings.diameter_px * box / full)

    def _refined(
        self, state: RefinementState, weights: Float[Tensor, " n"]
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Float[Tensor, "2 s"], list[SliceAccumulator]]:
        """Refined poses and their costs, what they leave unexplained, and the sums of both halves' slices.

        Every process refines and inserts its share of the particles; afterwards all hold everything.
        """
        share, n_shells, disc, box = current_share(), len(state.noise), self.store.disc, self._box(state.radius)
        inserted = len(disc.kx) if box == disc.box else disc.count(BOX_REACH * state.radius)
        before = (state.rotations, state.shifts_px, state.costs)
        poses = tuple(torch.zeros_like(column) for column in before)
        residual = torch.zeros(2, n_shells, dtype=torch.float64)
        accumulators = []
        for members, reference in zip(self.members, state.references, strict=True):
            small = reference if box == disc.box else resize_map(reference, working_box(state.radius))
            target = Target.of(small, disc, state.noise, state.radius)
            accumulator = self._empty_sums(box)
            for rows in share.mine(pieces(members[weights[members] > 0], images_at_a_time(inserted))):
                part = self.store.device_batch(rows, inserted)
                weight = weights[rows, None].to(target.device)
                found = refine_poses(target, part, before[0][rows], before[1][rows], steps=STEPS_PER_ROUND)
                poses[0][rows], poses[1][rows], poses[2][rows] = found.rotations, found.shifts_px, found.costs
                placed = found.to(target.device)
                residual += self._residual(target, part, placed, weight, n_shells)
                self._insert(accumulator, part, placed, weight)
            accumulators.append(accumulator)
        share.sum_(*poses, residual)
        for accumulator in accumulators:
            accumulator.sum_over_processes()
        left = torch.nonzero(weights <= 0)[:, 0]
        for column, old in zip(poses, before, strict=True):
            column[left] = old[left]
        return (poses[0], poses[1], poses[2]), residual, accumulators

    def _empty_sums(self, box: int) -> SliceAccumulator:
        copies = grid_copies(box, torch.get_num_threads(), torch.float64)
        return SliceAccumulator(box, threads=copies, device=compute_device(), dtype=torch.float64)

    def _drift(self, raw: list[Map], radius: float) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]] | None:
        """Move that brings the second half onto the first, its shift in pixels of the images.

        None where it is too small to matter at a radius.
        """
        turn, shift = drift_between(raw[1], raw[0], radius)
        shift = shift * self.store.disc.box / raw[0].shape[-1]
        path_px = float(vector_from_rotation(turn[None]).norm()) * self.settings.diameter_px / 2 + float(shift.norm())
        return (turn, shift) if path_px * 2 * math.pi * radius / self.store.disc.box > LARGEST_DRIFT_RAD else None

    def _insert(
        self, accumulator: SliceAccumulator, part: Coefficients, poses: RefinedPoses, weight: Float[Tensor, "n 1"]
    ) -> None:
        disc = self.store.disc
        count = part.c2.shape[1]
        k = (disc.kx[:count].contiguous(), disc.ky[:count].contiguous())
        values = part.yc * disc_phases(-poses.shifts_px, disc, count) * weight
        for copy in symmetry_copies(poses.rotations, point_group(self.settings.symmetry)):
            accumulator.add(copy.contiguous(), k, values, part.c2 * weight)

    def _residual(
        self, target: Target, part: Coefficients, poses: RefinedPoses, weight: Float[Tensor, "n 1"], n_shells: int
    ) -> Float[Tensor, "2 s"]:
        """``Σ C²(|Y|² − explained)`` and ``ΣC²`` per shell, of which the quotient is the noise power."""
        power, explained = target.explained(part, poses.rotations, poses.shifts_px)
        c2 = part.c2[:, : target.count]
        sums = torch.stack([(weight * (power - explained)).sum(0), (weight * c2).sum(0)]).double().cpu()
        return torch.zeros(2, n_shells, dtype=torch.float64).index_add_(1, target.disc.shell[: target.count], sums)

    def _noise(self, before: Float[Tensor, " s"], residual: Float[Tensor, "2 s"], radius: int) -> Float[Tensor, " s"]:
        """Residual power inside the radius (not below 0.8 of the background's); 1 beyond."""
        noise = torch.ones_like(before)
        inside = min(radius + 1, len(before))
        noise[:inside] = (residual[0] / residual[1].clamp_min(1e-12))[:inside].float().clamp_min(0.8)
        noise[0] = noise[1]
        return noise

    def _solvent_mask(self, raw: list[Map], radius: float) -> Map:
        """Soft mask around the molecule, made from both half-maps."""
        mean = low_pass((raw[0] + raw[1]) / 2, radius)
        field_A = self.store.disc.box * self.store.particles.pixel_size_A
        return auto_mask(Volume(mean, field_A / len(mean)), field_A / radius).values

    def _regularised(self, accumulator: SliceAccumulator, curve: Float[Tensor, " s"], mask: Map) -> Map:
        """Wiener map of one half: the prior is the mean weight over ``FSC / (1 − FSC)`` (Scheres 2012)."""
        alive = torch.cumprod((curve > 0.02).float(), 0)
        alive[0] = 1.0
        clipped = curve.clamp(0.02, 0.999)
        prior = torch.where(alive > 0, shell_weights(accumulator).float() * (1 - clipped) / clipped, 1e30)
        return solve(accumulator, prior=prior) * mask

    def _crossing(self, state: RefinementState) -> float:
        shell = crossing_shell(state.curve, FSC_GOLD_STANDARD)
        return self.largest_radius if shell is None else shell

    def _next_radius(self, radius: float, shell: float) -> float:
        return min(max(radius, min(radius * RADIUS_GROWTH, shell + RADIUS_MARGIN)), self.largest_radius)

    def start(
        self,
        poses: tuple[Rotations, Shifts],
        noise: Float[Tensor, " s"],
        references: tuple[Map, Map],
        doubtful: Bool[Tensor, " n"] | None = None,
    ) -> RefinementState:
        """State before the first round, in which each half is refined against its reference."""
        doubtful = torch.zeros(len(poses[0]), dtype=torch.bool) if doubtful is None else doubtful
        n_shells = int(self.store.disc.shell[-1]) + 1
        padded = torch.ones(n_shells)
        padded[: len(noise)] = noise
        costs = torch.zeros(len(poses[0]))
        curve = torch.zeros(self.store.disc.box // 2 + 1)
        return RefinementState(*poses, costs, references, padded, self.settings.start_radius, curve, doubtful)


def images_at_a_time(count: int) -> int:
    """How many images of so many coefficients are refined and inserted together on the computing device."""
    return CHUNK if compute_device().type == "cpu" else max(64, GPU_CHUNK_VALUES // count)


def particle_mask(box: int, diameter_px: float) -> Map:
    """Soft sphere around a particle, a little larger than it."""
    return sphere_mask(box, min(MASK_SHARE * diameter_px / 2 + 1, box / 2 - 3), 3.0)


def _of_the_particle(curve: Float[Tensor, " s"], ratio: float) -> Float[Tensor, " s"]:
    """FSC that the particle alone would have: noise is spread over ``ratio`` times its volume (Grant et al. 2018)."""
    clipped = curve.clamp(0, 1)
    return torch.where(curve > 0, ratio * clipped / (1 + (ratio - 1) * clipped), curve)


def log_likelihoods(
    store: CoefficientStore, state: RefinementState, half_sets: Int[Tensor, " n"], radius: float
) -> Float[Tensor, " n"]:
    """Log-likelihood gain of every particle over an empty image, at its pose, inside a radius."""
    out, share = torch.zeros(len(store)), current_share()
    for number, reference in zip((1, 2), state.references, strict=True):
        target = Target.of(reference, store.disc, state.noise, radius)
        for rows in share.mine(pieces(torch.nonzero(half_sets == number)[:, 0], images_at_a_time(target.count))):
            pose = (column[rows].to(target.device) for column in (state.rotations, state.shifts_px))
            out[rows] = -pose_costs(target, store.device_batch(rows, target.count), *pose).cpu()
    share.sum_(out)
    return out
