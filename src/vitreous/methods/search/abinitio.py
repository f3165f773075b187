"""From random orientations to low-resolution maps of one or several classes: stochastic expectation–maximisation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.device import compute_device
from vitreous.compute.parallel import map_on_threads, worker_count
from vitreous.compute.processes import current_share, pieces
from vitreous.compute.progress import Progress
from vitreous.data import Journal
from vitreous.fourier.filters import low_pass, randomise_phases
from vitreous.geometry.grids import so3_grid
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.schedule import GRID_INPLANE, GRID_NSIDE, Step, schedule, shift_grid
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct.backprojection import solve, working_box
from vitreous.reconstruct.coefficients import Coefficients, CoefficientStore, Spectra
from vitreous.reconstruct.expectation import (
    AnyReferences,
    centred_copies,
    references_of,
    score,
    sharpness_for,
)
from vitreous.reconstruct.masks import sphere_mask
from vitreous.reconstruct.maximisation import RotationSums
from vitreous.reconstruct.rings import PoseGrid
from vitreous.typing import Float, Int, Map

START_IMAGES = 1000
MASK_SHARE = 1.1
"""Radius of the solvent mask over the particle's radius."""

DENSITY_FLOOR = 0.02
"""Share of a shell's mean weight that is added to every voxel's."""

NOISE_MEMORY = 0.9
SKIPPED_SHARE = 0.8
"""Share of the marching radius that a given start may skip at most."""


SURE_EFFECTIVE_POSES = 3.0
"""The search goes on beyond its plan while the median image fits more poses than this."""

FURTHER_BATCH_SHARE = 2.0
FURTHER_WINDOW, STUCK_SHARE = 20, 0.95
"""It ends where twenty iterations lower that number by less than 5 %."""

BLIND_SHARE = 0.5
"""It ends, too, where the median image fits this share of all poses: the map shows nothing that images could fit."""

OCCUPANCY_MEMORY = 0.7
EMPTY_SHARE = 0.2
"""A class with less than this share of its even share of the images is empty."""

REVIVAL_UNTIL = 0.6
"""Share of the iterations during which an empty class is begun again."""

VARIED_FROM_SHELL = 2.0
"""A variant of a map is its mean with a copy whose phases are random from this shell on."""


@dataclass
class StochasticMaps:
    """The maps of the stochastic iterations, one per class, with their running sums.

    Attributes
    ----------
    values
        Current maps, in units of unitary image coefficients divided by the working box.
    accumulators
        Running numerators and denominators.
    noise
        Noise power per shell.
    occupancy
        Running share of the images in every class.
    """

    values: list[Map]
    accumulators: list[SliceAccumulator]
    noise: Float[Tensor, " s"]
    occupancy: Float[Tensor, " c"]


class AbInitio:
    """One stochastic run over a set of coefficients.

    Parameters
    ----------
    store
        Coefficients out to the search radius at least.
    config
        Schedule and seed.
    diameter_px
        Diameter of the particle in pixels of the images.
    generator
        Source of the start, the minibatches and the grid's turns.
    classes
        How many maps share the images.

    Attributes
    ----------
    noise
        Noise power per shell, after :meth:`run`.
    revivals
        How often an empty class was begun again.
    """

    def __init__(
        self,
        store: CoefficientStore,
        config: SearchConfig,
        diameter_px: float,
        generator: torch.Generator,
        *,
        classes: int = 1,
    ) -> None:
        self.store, self.config, self.generator, self.classes = store, config, generator, classes
        self.revivals = 0
        self.box = working_box(config.search_radius)
        radius = MASK_SHARE * diameter_px / 2 * self.box / store.disc.box + 1
        self.mask = sphere_mask(self.box, min(radius, self.box / 2 - 2), 2.0)
        sample = torch.randperm(len(store), generator=generator)[:START_IMAGES].sort().values
        self.spectra: Spectra = store.spectra(sample)
        self._order: Int[Tensor, " n"] = torch.empty(0, dtype=torch.int64)
        self.grid = so3_grid(GRID_NSIDE, GRID_INPLANE)
        self.noise = self.spectra.total

    def run(
        self,
        progress: Progress,
        journal: Journal,
        name: int = 1,
        start: Sequence[Map] | None = None,
        *,
        start_shell: float = 0.0,
    ) -> list[Map]:
        """Return the map ``[z, y, x]`` of every class on the working box.

        Parameters
        ----------
        progress, journal
            Where to report.
        name
            Number of this start in the log.
        start
            Maps on the working box that the classes begin from, in their order; random orientations by default.
        start_shell
            Shell up to which those maps can be trusted: the schedule begins with the step that has reached it, and
            keeps at least its last fifth.
        """
        steps = schedule(self.config)
        if start is None:
            state = self._start()
        else:
            steps = _steps_from(steps, start_shell)
            state = self._start_from(start, steps[0].radius)
        effective: list[tuple[float, float]] = []
        with progress.stage(f"Searching start {name}", total=len(steps)):
            for number, step in enumerate(_and_on(steps, effective, self.config.patience), start=1):
                effective.append(self._iterate(state, step))
                if number < REVIVAL_UNTIL * len(steps):
                    self._revive(state)
                metrics = {"iteration": number, "radius": step.radius, "effective_poses": effective[-1][0]}
                if self.classes > 1:
                    metrics["smallest_class"] = float(state.occupancy.min())
                journal.log(
                    {"stage": f"start {name}", **metrics, "noise": float(state.noise[1 : int(step.radius)].mean())}
                )
                progress.advance()
        self.noise = state.noise
        return state.values

    def _start(self) -> StochasticMaps:
        """Back-project images at random rotations, others for every class."""
        accumulators = [self._random_sums() for _ in range(self.classes)]
        state = self._state([self.mask] * self.classes, accumulators)
        self._solve(state, self.config.start_radius)
        for accumulator in accumulators:
            accumulator.scale(0.0)
        return state

    def _random_sums(self) -> SliceAccumulator:
        sample = torch.randperm(len(self.store), generator=self.generator)[:START_IMAGES].sort().values
        count = self.store.disc.count(self.config.start_radius)
        part = self.store.batch(sample, count)
        accumulator = self._empty_sums()
        k = (self.store.disc.kx[:count].contiguous(), self.store.disc.ky[:count].contiguous())
        accumulator.add(random_rotations(len(part), self.generator), k, part.yc, part.c2)
        return accumulator

    def _empty_sums(self) -> SliceAccumulator:
        threads = torch.get_num_threads()
        return SliceAccumulator(self.box, threads=threads, device=compute_device(), dtype=torch.float64)

    def _start_from(self, start: Sequence[Map], radius: float) -> StochasticMaps:
        """Begin with given maps, low-passed at the first radius."""
        begin = [(low_pass(values, radius) * self.mask).clamp_min(0) for values in start]
        return self._state(begin, [self._empty_sums() for _ in begin])

    def _state(self, values: list[Map], accumulators: list[SliceAccumulator]) -> StochasticMaps:
        return StochasticMaps(
            values, accumulators, self.spectra.total.clone(), torch.full((self.classes,), 1 / self.classes)
        )

    def _revive(self, state: StochasticMaps) -> None:
        """Begin empty classes again, as variants of the fullest one."""
        for k in torch.nonzero(state.occupancy < EMPTY_SHARE / self.classes)[:, 0].tolist():
            fullest = int(state.occupancy.argmax())
            state.values[k] = (variant_of(state.values[fullest], self.generator) * self.mask).clamp_min(0)
            state.accumulators[k].scale(0.0)
            half = (state.occupancy[fullest] + state.occupancy[k]) / 2
            state.occupancy[fullest] = state.occupancy[k] = half
            self.revivals += 1

    def _minibatch(self, step: Step) -> Int[Tensor, " b"]:
        size = min(round(self.config.minibatch * self.classes * step.batch_share), len(self.store))
        if len(self._order) < size:
            self._order = torch.randperm(len(self.store), generator=self.generator)
        batch, self._order = self._order[:size], self._order[size:]
        return batch.sort().values

    def _iterate(self, state: StochasticMaps, step: Step) -> tuple[float, float]:
        """Take one step with a fresh minibatch; return the median effective number of poses, and its share of all."""
        disc = self.store.disc
        count = disc.count(step.radius)
        turn = random_rotations(1, self.generator)[0]
        range_share = self.config.shift_range_share if step.with_shifts else 0.0
        shifts = shift_grid(disc.box, step.radius, range_share, self.generator)
        rotations = (self.grid @ turn).contiguous()
        device = compute_device()
        grid = PoseGrid(rotations.to(device), GRID_INPLANE, shifts.to(device))
        references = references_of(self.config.estep, state.values, grid, disc, count)
        inverse_noise = (1 / state.noise)[disc.shell[:count]].to(device)
        batch = self._minibatch(step)
        at_a_time = references.images_per_chunk()
        sharpness = self._sharpness(batch[:at_a_time], references, inverse_noise, step)
        share, effective = current_share(), torch.zeros(len(batch))
        sums = [RotationSums(len(references.rotations), count, device) for _ in range(worker_count())]

        def expect(worker: int, rows: Tensor) -> Tensor:
            part = self.store.device_batch(batch[rows], count)
            weighted = part.weighted(inverse_noise)
            copies = centred_copies(weighted.yc, references.phases)
            found = sums[worker].add_posterior(copies, weighted.c2, references, sharpness)
            effective[rows] = found.effective_poses.cpu()
            return _explained_power(part, references, found.best).double().cpu()

        done = map_on_threads(expect, share.mine(pieces(torch.arange(len(batch)), at_a_time)))
        explained = sum(done, torch.zeros(2, count, dtype=torch.float64))
        share.sum_(explained, effective)
        total = RotationSums.merged(sums)
        forget = max(0.0, 1 - len(batch) / (step.memory * self.classes))
        for accumulator, part in zip(state.accumulators, total.split(self.classes), strict=True):
            accumulator.scale(forget)
            part.insert_into(accumulator, rotations, disc)
        filled = total.mass.view(self.classes, -1).sum(1) / len(batch)
        state.occupancy = OCCUPANCY_MEMORY * state.occupancy + (1 - OCCUPANCY_MEMORY) * filled
        self._update_noise(state, explained.float(), count)
        self._solve(state, step.radius)
        median = float(effective.median())
        return median, median / references.size

    def _sharpness(
        self, indices: Int[Tensor, " m"], references: AnyReferences, inverse_noise: Float[Tensor, " k"], step: Step
    ) -> float:
        """Exponent that gives the step's effective number of poses, found on a few images; never above 1."""
        if step.effective_poses is None:
            return 1.0
        part = self.store.device_batch(indices, len(inverse_noise)).weighted(inverse_noise)
        scores = score(centred_copies(part.yc, references.phases), part.c2, references)
        return min(sharpness_for(scores, step.effective_poses), 1.0)

    def _update_noise(self, state: StochasticMaps, explained: Float[Tensor, "2 k"], count: int) -> None:
        """Move the noise spectrum towards what the best poses leave unexplained, never below the background's."""
        shell = self.store.disc.shell[:count]
        n = int(shell[-1]) + 1
        per_shell = torch.zeros(2, n).index_add_(1, shell, explained)
        target = self.spectra.total[:n] - per_shell[0] / per_shell[1].clamp_min(1e-12)
        state.noise[:n] = (NOISE_MEMORY * state.noise[:n] + (1 - NOISE_MEMORY) * target).clamp_min(0.9)

    def _solve(self, state: StochasticMaps, radius: float) -> None:
        """Wiener maps inside the radius, masked and non-negative."""
        prior = torch.full((self.box // 2 + 1,), 1e30)
        inside = int(radius + 0.5) + 1
        prior[:inside] = 1 / self.spectra.signal[torch.arange(inside).clamp_max(len(self.spectra.signal) - 1)]
        solved = [solve(a, prior=prior, floor=DENSITY_FLOOR) for a in state.accumulators]
        state.values = [(values * self.mask).clamp_min(0) for values in solved]


def variant_of(values: Map, generator: torch.Generator) -> Map:
    """A map that resembles another, and the less the finer its detail."""
    return (values + randomise_phases(values, VARIED_FROM_SHELL, generator)) / 2


def _and_on(steps: list[Step], effective: list[tuple[float, float]], patience: int) -> Iterator[Step]:
    """The planned steps, then more like the last one while the images are unsure of their poses and become surer.

    ``effective`` holds the median effective number of poses of every step so far, and its share of all poses.
    """
    yield from steps
    further = replace(steps[-1], batch_share=FURTHER_BATCH_SHARE)
    for count in range(patience):
        (poses, share), earlier = effective[-1], math.inf
        if len(effective) > FURTHER_WINDOW:
            earlier = effective[-1 - FURTHER_WINDOW][0]
        stuck = count >= FURTHER_WINDOW and poses > STUCK_SHARE * earlier
        if poses < SURE_EFFECTIVE_POSES or share > BLIND_SHARE or stuck:
            return
        yield further


def _steps_from(steps: list[Step], shell: float) -> list[Step]:
    """Leave out the steps at radii below a shell, but for the last fifth of the march."""
    first, last = steps[0].radius, steps[-1].radius
    shell = min(shell, first + SKIPPED_SHARE * (last - first))
    return [step for step in steps if step.radius >= shell]


def _explained_power(part: Coefficients, references: AnyReferences, best: Int[Tensor, " m"]) -> Float[Tensor, "2 k"]:
    """Power that the best poses explain, ``Σ C²·(2·Re⟨Y·C, P⟩ − C²·|P|²)``, and ``ΣC²``: weighted as the total is."""
    n_rotations = len(references.rotations)
    slices = references.slices_at(best % n_rotations)
    moved = part.yc * references.phases[torch.div(best, n_rotations, rounding_mode="floor")]
    gain = 2 * (moved.conj() * slices).real - part.c2 * slices.abs().square()
    return torch.stack([(part.c2 * gain).sum(0), part.c2.sum(0)])
