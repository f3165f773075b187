"""The search method: particles in, judged map and poses out."""

from dataclasses import replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Journal, Particles, Poses, Result, SilentJournal, Volume
from vitreous.geometry.symmetry import point_group
from vitreous.methods.search.axes import brought_onto_axes, found_axes, imposed_axes, settled
from vitreous.methods.search.config import SearchConfig, is_auto
from vitreous.methods.search.given import cut_off_radius, given_starts, refuse_unusable
from vitreous.methods.search.global_search import search_halves
from vitreous.methods.search.outcome import reconstructed, refined_in_stages
from vitreous.methods.search.recheck import found_again
from vitreous.methods.search.refinement import Refinement, RefinementSettings, RefinementState
from vitreous.methods.search.second_look import SecondLook, is_doubtful
from vitreous.methods.search.stages import Stages
from vitreous.methods.search.starts import GivenStarts, StartFinder, as_tensors
from vitreous.methods.search.verdict import AMBIGUOUS_EFFECTIVE_POSES, Evidence, independence, judge
from vitreous.reconstruct.abinitio_input import known_diameter_A
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_spectra import balanced
from vitreous.reconstruct.known_poses import ReconstructConfig, split_half_sets

SEARCH_RADIUS_SHARE = 0.75
"""The global search uses three quarters of the ab initio radius: the outer shells are the least certain."""

FIRST_RADIUS_SHARE = 0.85
"""Refinement begins a little inside the ab initio radius."""

ABINITIO_PARTICLES = 20_000
"""The starts are found from a random subset of at most this many particles."""

START_LEFT = (
    "The given start was left: it led the two halves to different maps, or random orientations to one that explains "
    "the images better. The search began again from random orientations, and nothing of the start is in the result."
)


class Search:
    """Ab initio reconstruction by marginalised projection matching, then gold-standard refinement."""

    def __init__(self, config: SearchConfig | None = None) -> None:
        self.config = SearchConfig() if config is None else config

    def run(
        self,
        particles: Particles,
        progress: Progress | None = None,
        mask: Volume | None = None,
        journal: Journal | None = None,
        *,
        starts: GivenStarts | Volume | Poses | None = None,
    ) -> Result:
        """Find a map and the poses of all particles.

        Parameters
        ----------
        particles
            At least 100, in boxes of at least 24 pixels; poses in them are not used.
        progress, journal
            Where to report and to save; nowhere by default.
        mask
            Soft mask of the final FSC; made from the map by default.
        starts
            What to begin from instead of random orientations: maps of the two halves; or a map on the particles' grid,
            of any grey scale, or poses of all particles, which are cut off at the resolution ``start_A`` and shared by
            both halves up to there. Where the halves' searches do not agree from there, they begin again at random.

        Raises
        ------
        InputError
            If there are fewer than 100 particles or the box is below 24 pixels.
        ConfigError
            If the diameter is larger than the box, or ``start_A`` leaves no frequencies to begin with.
        """
        refuse_unusable(particles, self.config, given=isinstance(starts, Volume | Poses))
        run = _SearchRun(self.config, particles, progress or SilentProgress(), journal or SilentJournal())
        return run.result(mask, starts)


class _SearchRun:
    """One run of the search over one particle set."""

    def __init__(self, config: SearchConfig, particles: Particles, progress: Progress, journal: Journal) -> None:
        self.config, self.particles, self.progress, self.journal = config, particles, progress, journal
        self.stages = Stages(journal)
        self.metrics: dict[str, float] = {}
        self.symmetry = config.symmetry
        self.diameter_A, self.warnings = known_diameter_A(particles, config.diameter_A, progress)
        self.half_sets = split_half_sets(particles, config.seed)
        self.members = [torch.nonzero(self.half_sets == number)[:, 0] for number in (1, 2)]
        self.store = CoefficientStore(particles, particles.box / 2 - 1.0)

    def result(self, mask: Volume | None, starts: GivenStarts | Volume | Poses | None) -> Result:
        """Run all stages."""
        self.store = balanced(self.store.load(self.progress), self.diameter_A / self.particles.pixel_size_A)
        start = self.stages.once("starts", lambda: self._start(starts))
        found = self.stages.once("poses", lambda: self._global_poses(start))
        start, found = self._on_axes(start, found)
        state = self._refined(start, found)
        final = ReconstructConfig(symmetry=self.symmetry, seed=self.config.seed)
        refined = (state, self.half_sets)
        made = reconstructed(self.store, refined, final, self.progress, mask, radius=self.config.search_radius)
        gains = made.scores["log_likelihood"]
        agreement, shared = float(start["agreement_shell"]), float(start["shared_radius"])
        independent = bool(start["independent"])
        again = self._found_again(state, found["effective_poses"], shared) if independent else None
        evidence = Evidence(
            agreement, found["effective_poses"], gains, again, independent=independent, shared_radius=shared
        )
        verdict, reasons = judge(made, evidence, self.config.search_radius)
        return replace(
            made,
            scores={
                **made.scores,
                "effective_poses": found["effective_poses"],
                "max_probability": found["probability"],
            },
            verdict=verdict,
            warnings=(*self.warnings, *([START_LEFT] if start["start_left"] else []), *made.warnings, *reasons),
            metrics={
                **made.metrics,
                **self.metrics,
                "diameter_A": self.diameter_A,
                "refined_radius": state.radius,
                "agreement_shell": agreement,
                **independence(shared, self.particles),
                **({} if again is None else {"found_again": again}),
                "independent_halves": float(independent and shared == 0),
                "searches": float(start["searches"]),
            },
        )

    def _start(self, starts: GivenStarts | Volume | Poses | None) -> dict[str, Tensor]:
        """Maps of both halves at the search radius, in the images' box, and how far two searches agree."""
        finder = StartFinder(self.config, self.diameter_A / self.particles.pixel_size_A, (self.progress, self.journal))
        first, second = (self._subset(rows, ABINITIO_PARTICLES // 2) for rows in self.members)
        given = self._given(starts) if isinstance(starts, Volume | Poses) else starts
        start = None if given is None else finder.from_given((first, second), given)
        is_left = given is not None and start is None
        if is_left:
            self.progress.message("The given start leads nowhere: searching from random starts")
        start = finder.from_halves((first, second)) if start is None else start
        if start is None:
            self.progress.message("The two halves led to different maps: searching all particles together")
            start = finder.from_all(self._subset(torch.arange(len(self.particles)), ABINITIO_PARTICLES))
        return as_tensors(start, self.particles.box) | {"start_left": torch.tensor([float(is_left)])}

    def _given(self, begin: Volume | Poses) -> GivenStarts:
        radius = cut_off_radius(self.particles, self.config.start_A)
        return given_starts(begin, self.store, self.half_sets, radius, self.progress)

    def _subset(self, rows: Tensor, at_most: int) -> CoefficientStore:
        """Coefficients of some particles, at random no more than so many."""
        generator = torch.Generator().manual_seed(self.config.seed)
        chosen = rows[torch.randperm(len(rows), generator=generator)[:at_most]].sort().values
        return self.store.subset(chosen, self.config.search_radius, self.progress)

    def _global_poses(self, start: dict[str, Tensor]) -> dict[str, Tensor]:
        """Poses of all particles, each found against the map of its half."""
        reach = (SEARCH_RADIUS_SHARE * self.config.search_radius, self.config.shift_range_share)
        halves = [(start[f"map{number}"], start["noise"][number - 1]) for number in (1, 2)]
        estep = self.config.estep
        return search_halves(self.store, self.members, halves, reach, self.progress, estep=estep)

    def _on_axes(
        self, start: dict[str, Tensor], found: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps and poses in the frame of the point group; the start has a random one."""
        name, radius = self.config.symmetry, self.config.search_radius
        if is_auto(name):
            refinement = self._refinement("C1", radius, start)
            start, found = settled(self.stages, self.progress, refinement, start, found)
            maps = (start["map1"], start["map2"])
            axes = found_axes(self.stages, (self.progress, self.journal), lambda: maps, radius)
        elif len(point_group(name)) > 1:
            mean = (start["map1"] + start["map2"]) / 2
            axes = imposed_axes(self.stages, self.progress, mean, name, SEARCH_RADIUS_SHARE * radius)
        else:
            return start, found
        self.symmetry, self.warnings = axes.symmetry, [*self.warnings, *axes.warnings]
        self.metrics.update(axes.metrics)
        return (start, found) if axes.frame is None else brought_onto_axes(axes.frame, start, found)

    def _found_again(self, state: RefinementState, effective: Tensor, shared: float) -> float | None:
        """Share of particles that find their pose again, where a start was given or the grid left their poses open."""
        radius, share = self.config.search_radius, self.config.shift_range_share
        if shared > 0:
            reach, fine = (SEARCH_RADIUS_SHARE * radius, share), None
        elif float(effective.median()) > AMBIGUOUS_EFFECTIVE_POSES:
            reach, fine = (radius, share), state.radius
        else:
            return None
        return found_again(self.store, state, self.half_sets, reach, self.symmetry, fine_radius=fine)

    def _refinement(self, symmetry: str, radius: float, start: dict[str, Tensor]) -> Refinement:
        settings = RefinementSettings(
            self.diameter_A / self.particles.pixel_size_A,
            symmetry,
            self.config.refine_iterations,
            radius,
            realign=bool(start["independent"]),
        )
        return Refinement(self.store, self.half_sets, settings)

    def _refined(self, start: dict[str, Tensor], found: dict[str, Tensor]) -> RefinementState:
        refinement = self._refinement(self.symmetry, FIRST_RADIUS_SHARE * self.config.search_radius, start)
        references = (start["map1"], start["map2"])
        poses, doubtful = (found["rotations"], found["shifts_px"]), is_doubtful(found["effective_poses"])
        fresh = refinement.start(poses, start["noise"].mean(0), references, doubtful)
        reach = (self.config.search_radius, self.config.shift_range_share)
        look = SecondLook(refinement, *reach, self.progress, estep=self.config.estep)
        return refined_in_stages(refinement, fresh, self.stages, (self.progress, self.journal), look)
