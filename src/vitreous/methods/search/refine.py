"""Refinement of particles from a map, or from the poses that they have."""

import math
from dataclasses import dataclass, replace

import torch

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Journal, Particles, Poses, Result, SilentJournal, Volume
from vitreous.errors import InputError
from vitreous.fourier.filters import low_pass
from vitreous.methods.search.axes import IndependentMaps, found_axes
from vitreous.methods.search.config import is_auto, require_setting, require_start, require_symmetry
from vitreous.methods.search.given import at_image_scale, cut_off_radius, maps_of_halves
from vitreous.methods.search.global_search import GridSearch
from vitreous.methods.search.outcome import reconstructed, refined_in_stages
from vitreous.methods.search.recheck import found_again
from vitreous.methods.search.refinement import Refinement, RefinementSettings, RefinementState, particle_mask
from vitreous.methods.search.second_look import SecondLook, is_doubtful
from vitreous.methods.search.stages import Stages
from vitreous.methods.search.verdict import Evidence, independence, judge
from vitreous.reconstruct.abinitio_input import check_input, known_diameter_A
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_spectra import balanced
from vitreous.reconstruct.known_poses import ReconstructConfig, split_half_sets
from vitreous.reconstruct.symmetry_axes import BAND_RADIUS
from vitreous.typing import Float, Map, Tensor

GRID_RADIUS = 9.0
"""Largest radius of the global search in Fourier pixels: a grid of 15° cannot use more."""

LOOK_RADIUS = 12.0
"""Fourier pixels of the second search."""


@dataclass(frozen=True)
class RefineConfig:
    """Refinement in half-sets; the defaults are right for a first run."""

    diameter_A: float | None = None
    """Diameter of the particle in Å; estimated from the images by default."""
    symmetry: str = "C1"
    """Point group imposed on the map: C1, C4, D2, T, O, I …; map or poses must already have its axes. auto finds the
    group and the axes in the map, or in that of the poses, and turns map or poses onto them."""
    seed: int = 0
    """Seed of the half-sets, where the particles have none."""
    start_A: float | None = None
    """Resolution in Å at which the start is cut off; beyond it, the half-maps are independent. 30 Å by default, or that
    of the fourth Fourier pixel in boxes below 120 Å."""
    shift_range_share: float = 0.05
    """Largest shift searched from a map, as a share of the box side."""
    rounds: int = 20
    """Largest number of rounds over all images; it stops earlier where nothing improves any more."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, by the name of their flag."""
        require_symmetry(self.symmetry)
        require_setting(0 <= self.seed < 2**63, "--seed", "0 to 2^63 - 1", self.seed)
        require_start(self.start_A)
        require_setting(0 <= self.shift_range_share <= 0.25, "--shift-range-share", "0 to 0.25", self.shift_range_share)
        require_setting(self.rounds >= 1, "--rounds", "at least 1", self.rounds)
        if self.diameter_A is not None:
            require_setting(0 < self.diameter_A < math.inf, "--diameter-A", "a positive length in Å", self.diameter_A)


class Refine:
    """Gold-standard refinement: globally from a map, locally from poses."""

    def __init__(self, config: RefineConfig | None = None) -> None:
        self.config = RefineConfig() if config is None else config

    def run(
        self,
        particles: Particles,
        progress: Progress | None = None,
        mask: Volume | None = None,
        journal: Journal | None = None,
        *,
        start: Volume | None = None,
    ) -> Result:
        """Refine the poses of all particles and reconstruct.

        Parameters
        ----------
        particles
            At least 100; without ``start`` they need poses.
        progress, journal
            Where to report and to save; nowhere by default.
        mask
            Soft mask of the final FSC; made from the map by default.
        start
            A map on the particles' grid, of any grey scale: every particle is searched over all orientations
            against it, and poses in ``particles`` are not used.

        Raises
        ------
        InputError
            If there are fewer than 100 particles, or neither poses nor a map.
        ConfigError
            If the diameter is larger than the box, or the start leaves no frequencies to refine against.
        """
        check_input(particles, self.config.diameter_A)
        begin = particles.poses if start is None else start
        if begin is None:
            raise InputError(
                "the particles have no poses to refine from",
                remedy="Give a map with --map, or run `vitreous abinitio` first",
            )
        run = _RefineRun(self.config, particles, progress or SilentProgress(), journal or SilentJournal())
        return run.result(mask, begin)


class _RefineRun:
    """One refinement of one particle set."""

    def __init__(self, config: RefineConfig, particles: Particles, progress: Progress, journal: Journal) -> None:
        self.config, self.particles, self.progress, self.journal = config, particles, progress, journal
        self.stages = Stages(journal)
        self.start_radius = cut_off_radius(particles, config.start_A)
        self.diameter_A, self.warnings = known_diameter_A(particles, config.diameter_A, progress)
        self.half_sets = split_half_sets(particles, config.seed)
        self.store = CoefficientStore(particles, particles.box / 2 - 1.0)
        self.symmetry = config.symmetry
        self.metrics: dict[str, float] = {}

    def result(self, mask: Volume | None, begin: Volume | Poses) -> Result:
        """Run all stages."""
        self.store = balanced(self.store.load(self.progress), self.diameter_A / self.particles.pixel_size_A)
        begin = self._on_axes(begin)
        settings = RefinementSettings(
            self.diameter_A / self.particles.pixel_size_A, self.symmetry, self.config.rounds, self.start_radius
        )
        refinement = Refinement(self.store, self.half_sets, settings)
        found = self.stages.once("poses", lambda: self._begin(begin))
        state = self._refined(refinement, found)
        final = ReconstructConfig(symmetry=self.symmetry, seed=self.config.seed)
        refined = (state, self.half_sets)
        made = reconstructed(self.store, refined, final, self.progress, mask, radius=self.start_radius)
        again = self._found_again(state)
        evidence = Evidence(self.start_radius, found["effective_poses"], made.scores["log_likelihood"], again)
        verdict, reasons = judge(made, evidence, self.start_radius)
        searched = {"effective_poses": found["effective_poses"], "max_probability": found["probability"]}
        return replace(
            made,
            scores={**made.scores, **(searched if isinstance(begin, Volume) else {})},
            verdict=verdict,
            warnings=(*self.warnings, *made.warnings, *reasons),
            metrics={
                **made.metrics,
                **self.metrics,
                **independence(self.start_radius, self.particles),
                "diameter_A": self.diameter_A,
                "refined_radius": state.radius,
                "found_again": again,
            },
        )

    def _on_axes(self, begin: Volume | Poses) -> Volume | Poses:
        """Turn the start onto the axes of the point group that it shows, where that is to be found."""
        if not is_auto(self.symmetry):
            return begin
        radius = min(self.start_radius, BAND_RADIUS)
        axes = found_axes(self.stages, (self.progress, self.journal), lambda: self._maps_of(begin), radius)
        self.symmetry, self.warnings = axes.symmetry, [*self.warnings, *axes.warnings]
        self.metrics.update(axes.metrics)
        if axes.frame is None:
            return begin
        if isinstance(begin, Volume):
            return replace(begin, values=axes.frame.turned_map(begin.values))
        pixel_A = self.particles.pixel_size_A
        rotations, shifts_px = axes.frame.turned_poses(begin.rotations.float(), begin.shifts_A.float() / pixel_A)
        return Poses(rotations, shifts_px * pixel_A)

    def _maps_of(self, begin: Volume | Poses) -> IndependentMaps:
        """The start inside the particle's sphere: a map, or the maps of the halves that its poses make."""
        mask = particle_mask(self.particles.box, self.diameter_A / self.particles.pixel_size_A)
        if isinstance(begin, Volume):
            return begin.values * mask, None
        first, second = self._half_maps(begin, "C1")
        return first * mask, second * mask

    def _found_again(self, state: RefinementState) -> float:
        search = (min(GRID_RADIUS, self.particles.box / 2 - 1), self.config.shift_range_share)
        return found_again(self.store, state, self.half_sets, search, self.symmetry)

    def _begin(self, begin: Volume | Poses) -> dict[str, Tensor]:
        """Poses to refine, and the maps that they are refined against first."""
        return self._searched(begin) if isinstance(begin, Volume) else self._given(begin)

    def _given(self, poses: Poses) -> dict[str, Tensor]:
        """Poses as they are, and the maps of the halves that they make."""
        first, second = self._half_maps(poses, self.symmetry)
        ones = torch.ones(len(self.particles))
        return {
            "rotations": poses.rotations.float(),
            "shifts_px": (poses.shifts_A / self.particles.pixel_size_A).float(),
            "effective_poses": ones,
            "probability": ones,
            "first": first,
            "second": second,
        }

    def _half_maps(self, poses: Poses, symmetry: str) -> tuple[Map, Map]:
        """Maps of the halves, up to the resolution of the start."""
        arguments = (self.particles, poses, self.half_sets, symmetry, self.progress)
        return maps_of_halves(*arguments, radius=self.start_radius, balance=self.store.balance)

    def _searched(self, start: Volume) -> dict[str, Tensor]:
        """Best pose of every particle on a global grid."""
        reference = at_image_scale(
            low_pass(start.values, self.start_radius), self.store, self.start_radius, self.config.seed
        )
        reach = (min(self.start_radius, GRID_RADIUS), self.config.shift_range_share)
        search = GridSearch(self.store, reference, self._white(), *reach, fine_radius=self.start_radius)
        return {**vars(search.run(self.progress)), "first": reference, "second": reference}

    def _white(self) -> Float[Tensor, " s"]:
        """Noise before the first round: the images' background has variance 1."""
        return torch.ones(int(self.store.disc.shell[-1]) + 1)

    def _refined(self, refinement: Refinement, found: dict[str, Tensor]) -> RefinementState:
        references = (found["first"] * refinement.mask, found["second"] * refinement.mask)
        poses, doubtful = (found["rotations"], found["shifts_px"]), is_doubtful(found["effective_poses"])
        fresh = refinement.start(poses, self._white(), references, doubtful)
        radius = min(LOOK_RADIUS, self.particles.box / 2 - 1)
        look = SecondLook(refinement, radius, self.config.shift_range_share, self.progress)
        return refined_in_stages(refinement, fresh, self.stages, (self.progress, self.journal), look)
