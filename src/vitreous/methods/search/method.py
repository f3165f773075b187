"""The search method: particles in, judged map and poses out."""

from dataclasses import replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Journal, Particles, Result, SilentJournal, Volume
from vitreous.errors import InputError
from vitreous.fourier.resize import resize_map
from vitreous.geometry.symmetry import point_group
from vitreous.methods.search.axes import brought_onto_axes, symmetry_frame, symmetry_warning
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.global_search import GridSearch
from vitreous.methods.search.outcome import reconstructed, refined_in_stages
from vitreous.methods.search.refinement import Refinement, RefinementSettings, RefinementState
from vitreous.methods.search.stages import Stages
from vitreous.methods.search.starts import GivenStarts, find_start
from vitreous.methods.search.verdict import Evidence, judge
from vitreous.reconstruct.abinitio_input import check_input, known_diameter_A
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.known_poses import ReconstructConfig, split_half_sets

SEARCH_RADIUS_SHARE = 0.75
"""The global search uses three quarters of the ab initio radius: the outer shells are the least certain."""

FIRST_RADIUS_SHARE = 0.85
"""Refinement begins a little inside the ab initio radius."""

ABINITIO_PARTICLES = 20_000
"""The start is found from a random subset of at most this many particles."""


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
        starts: GivenStarts | None = None,
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
            Two maps to begin from instead of random orientations; each search goes on with the particles of its
            half.

        Raises
        ------
        InputError
            If there are fewer than 100 particles or the box is below 24 pixels.
        ConfigError
            If the diameter is larger than the box.
        """
        _check(particles, self.config.diameter_A)
        run = _SearchRun(self.config, particles, progress or SilentProgress(), journal or SilentJournal())
        return run.result(mask, starts)


class _SearchRun:
    """One run of the search over one particle set."""

    def __init__(self, config: SearchConfig, particles: Particles, progress: Progress, journal: Journal) -> None:
        self.config, self.particles, self.progress, self.journal = config, particles, progress, journal
        self.stages = Stages(journal)
        self.metrics: dict[str, float] = {}
        self.diameter_A, self.warnings = known_diameter_A(particles, config.diameter_A, progress)
        self.half_sets = split_half_sets(particles, config.seed)
        self.store = CoefficientStore(particles, particles.box / 2 - 1.0)

    def result(self, mask: Volume | None, starts: GivenStarts | None) -> Result:
        """Run all stages."""
        self.store.load(self.progress)
        start = self.stages.once("start", lambda: self._start(starts))
        found = self.stages.once("poses", lambda: self._global_poses(start))
        start, found = self._on_axes(start, found)
        state = self._refined(start, found)
        final = ReconstructConfig(symmetry=self.config.symmetry, seed=self.config.seed)
        refined = (state, self.half_sets)
        made = reconstructed(self.store, refined, final, self.progress, mask, radius=self.config.search_radius)
        gains = made.scores["log_likelihood"]
        evidence = Evidence(float(start["agreement_shell"]), found["effective_poses"], gains)
        verdict, reasons = judge(made, evidence, self.config.search_radius)
        return replace(
            made,
            scores={
                **made.scores,
                "effective_poses": found["effective_poses"],
                "max_probability": found["probability"],
            },
            verdict=verdict,
            warnings=(*self.warnings, *made.warnings, *reasons),
            metrics={
                **made.metrics,
                **self.metrics,
                "diameter_A": self.diameter_A,
                "refined_radius": state.radius,
                "agreement_shell": float(start["agreement_shell"]),
            },
        )

    def _start(self, starts: GivenStarts | None) -> dict[str, Tensor]:
        """Map at the search radius, brought to the images' box, its noise spectrum and how far two searches agree."""
        begins: list[tuple[CoefficientStore, Tensor | None]]
        if starts is None:
            begins = [(self._subset(torch.arange(len(self.particles)), ABINITIO_PARTICLES), None)] * 2
        else:
            begins = [
                (self._subset(torch.nonzero(self.half_sets == number)[:, 0], ABINITIO_PARTICLES // 2), given)
                for number, given in enumerate((m.values / self.particles.box for m in starts.maps), start=1)
            ]
        diameter_px = self.diameter_A / self.particles.pixel_size_A
        shell = 0.0 if starts is None else starts.agreement_shell
        found = find_start(begins, self.config, diameter_px, (self.progress, self.journal), start_shell=shell)
        agreement = torch.tensor([found.agreement_shell])
        return {"map": resize_map(found.map, self.particles.box), "noise": found.noise, "agreement_shell": agreement}

    def _subset(self, rows: Tensor, at_most: int) -> CoefficientStore:
        """Coefficients of some particles, at random no more than so many."""
        if len(rows) == len(self.particles) <= at_most:
            return self.store
        generator = torch.Generator().manual_seed(self.config.seed)
        chosen = rows[torch.randperm(len(rows), generator=generator)[:at_most]].sort().values
        return CoefficientStore(self.particles.select(chosen), self.config.search_radius).load(self.progress)

    def _global_poses(self, start: dict[str, Tensor]) -> dict[str, Tensor]:
        radius, share = SEARCH_RADIUS_SHARE * self.config.search_radius, self.config.shift_range_share
        search = GridSearch(self.store, start["map"], start["noise"], radius, share)
        return vars(search.run(self.progress))

    def _on_axes(
        self, start: dict[str, Tensor], found: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Map and poses in the frame of the point group; the start has a random one."""
        name, radius = self.config.symmetry, SEARCH_RADIUS_SHARE * self.config.search_radius
        if len(point_group(name)) == 1:
            return start, found
        frame = symmetry_frame(self.stages, start["map"], name, radius)
        self.progress.message(f"The start agrees with its {name} mates to {frame.score:.2f}")
        warning = symmetry_warning(frame.score, name)
        self.warnings += [] if warning is None else [warning]
        self.metrics["symmetry_agreement"] = frame.score
        return brought_onto_axes(frame, start, found)

    def _refined(self, start: dict[str, Tensor], found: dict[str, Tensor]) -> RefinementState:
        settings = RefinementSettings(
            self.diameter_A / self.particles.pixel_size_A,
            self.config.symmetry,
            self.config.refine_iterations,
            FIRST_RADIUS_SHARE * self.config.search_radius,
        )
        refinement = Refinement(self.store, self.half_sets, settings)
        references = (start["map"], start["map"])
        fresh = refinement.start((found["rotations"], found["shifts_px"]), start["noise"], references)
        return refined_in_stages(refinement, fresh, self.stages, self.progress, self.journal)


def _check(particles: Particles, diameter_A: float | None) -> None:
    check_input(particles, diameter_A)
    if particles.box < 24:
        raise InputError(
            "the box is too small",
            expected="at least 24 px",
            found=f"{particles.box} px",
            remedy="Extract the particles in a larger box",
        )
