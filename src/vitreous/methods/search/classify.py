"""Classification: particles in, one map per class out, from nothing or from given maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Journal, Particles, Poses, Result, SilentJournal, Volume
from vitreous.errors import ConfigError
from vitreous.fourier.filters import low_pass
from vitreous.fourier.resize import resize_map
from vitreous.geometry.symmetry import point_group
from vitreous.methods.search.axes import imposed_axes, symmetry_warning
from vitreous.methods.search.class_rounds import ClassRounds, ClassState
from vitreous.methods.search.class_starts import ClassFinder, GivenClasses
from vitreous.methods.search.class_verdict import ClassEvidence, judge_classes
from vitreous.methods.search.config import SearchConfig, is_auto, require_setting
from vitreous.methods.search.given import at_image_scale, cut_off_radius
from vitreous.methods.search.global_search import search_halves
from vitreous.methods.search.method import SEARCH_RADIUS_SHARE, START_LEFT
from vitreous.methods.search.refinement import Refinement, RefinementSettings
from vitreous.methods.search.second_look import SecondLook
from vitreous.methods.search.stages import Stages
from vitreous.methods.search.verdict import independence
from vitreous.reconstruct.abinitio_input import check_input, known_diameter_A
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_spectra import balanced
from vitreous.reconstruct.known_poses import ReconstructConfig, reconstruct_halves, split_half_sets

SEARCHED_PARTICLES = 20_000
FIRST_CANDIDATES = 15
"""Poses of a particle in a class that are polished at first; those that matter are searched again in later rounds."""

FEWEST = 40
"""A class of fewer particles gets no map."""


@dataclass(frozen=True)
class ClassifyConfig:
    """Classification; the defaults are right for a first run."""

    classes: int = 3
    """Number of classes; one or two more than you expect, so that junk has somewhere to go."""
    diameter_A: float | None = None
    """Diameter of the largest particle in Å; estimated from the images by default."""
    symmetry: str = "C1"
    """Point group imposed on every class, whose axes are found in each: C1, C4, D2, T, O, I …"""
    seed: int = 0
    """Seed of the starts, the minibatches and the half-sets."""
    start_A: float | None = None
    """Resolution in Å at which given maps (--map) are cut off; beyond it, the half-maps are independent. 30 Å by
    default, or that of the fourth Fourier pixel in boxes below 120 Å."""
    iterations: int = 60
    """Stochastic iterations from the random starts."""
    minibatch: int = 200
    """Images per class and stochastic iteration."""
    start_radius: float = 6.0
    """First radius in Fourier pixels."""
    search_radius: float = 18.0
    """Last radius of the stochastic iterations in Fourier pixels; small species need finer detail than the largest."""
    shift_range_share: float = 0.05
    """Largest shift searched, as a share of the box side."""
    rounds: int = 16
    """Largest number of rounds over all images, in which classes and poses are refined together."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, by the name of their flag."""
        require_setting(2 <= self.classes <= 50, "--classes", "2 to 50", self.classes)
        require_setting(self.rounds >= 1, "--rounds", "at least 1", self.rounds)
        if is_auto(self.symmetry):
            raise ConfigError(
                "vitreous classify finds no point group",
                found="--symmetry auto",
                remedy="Name the group; or classify without symmetry, take a class with `vitreous select`, and give "
                "that to `vitreous abinitio --symmetry auto`",
            )
        self.search()

    def search(self) -> SearchConfig:
        """Settings of the stochastic search."""
        return SearchConfig(
            diameter_A=self.diameter_A,
            symmetry=self.symmetry,
            seed=self.seed,
            start_A=self.start_A,
            iterations=self.iterations,
            minibatch=self.minibatch,
            start_radius=self.start_radius,
            search_radius=self.search_radius,
            shift_range_share=self.shift_range_share,
            patience=0,
        )


class Classify:
    """Several maps from a mixture, by marginalised search and refinement of classes and poses together."""

    def __init__(self, config: ClassifyConfig | None = None) -> None:
        self.config = ClassifyConfig() if config is None else config

    def run(
        self,
        particles: Particles,
        progress: Progress | None = None,
        journal: Journal | None = None,
        *,
        starts: Sequence[Volume] = (),
    ) -> Result:
        """Find classes, their maps, and the pose of every particle in its class.

        Parameters
        ----------
        particles
            At least 100; poses in them are not used.
        progress, journal
            Where to report and to save; nowhere by default.
        starts
            Maps to begin from, one per class or one for all, on the particles' grid and of any grey scale; they are cut
            off at the resolution ``start_A``. Random orientations where there are none, or where those explain the
            images better.

        Returns
        -------
        Result
            ``classes`` (1 is the largest), ``class_volumes``, ``poses``, ``half_sets``, scores ``class_posterior_K``
            and ``max_probability`` (the largest of them). Metrics: particles and resolution of every class.

        Raises
        ------
        InputError
            If there are fewer than 100 particles.
        ConfigError
            If the diameter is larger than the box, the number of maps is another than that of the classes, or
            ``start_A`` leaves no frequencies to begin with.
        """
        check_input(particles, self.config.diameter_A)
        require_starts(len(starts), self.config.classes)
        if starts:
            cut_off_radius(particles, self.config.start_A)
        run = _ClassifyRun(self.config, particles, progress or SilentProgress(), journal or SilentJournal())
        return run.result(starts)


def require_starts(count: int, classes: int) -> None:
    """Raise ConfigError unless there is no map to begin from, one, or one per class."""
    if count not in (0, 1, classes):
        raise ConfigError(
            "--map fits --classes neither as one map for all nor as one map per class",
            expected=f"1 or {classes} maps",
            found=count,
            remedy=f"Give --classes {max(2, count)}, or other maps",
        )


class _ClassifyRun:
    """One classification of one particle set."""

    def __init__(self, config: ClassifyConfig, particles: Particles, progress: Progress, journal: Journal) -> None:
        self.config, self.particles, self.progress, self.journal = config, particles, progress, journal
        self.stages = Stages(journal)
        self.diameter_A, self.warnings = known_diameter_A(particles, config.diameter_A, progress)
        self.half_sets = split_half_sets(particles, config.seed)
        self.members = [torch.nonzero(self.half_sets == number)[:, 0] for number in (1, 2)]
        self.store = CoefficientStore(particles, particles.box / 2 - 1.0)
        self.symmetry_agreement: dict[int, float] = {}

    def result(self, given: Sequence[Volume]) -> Result:
        """Run all stages."""
        self.store = balanced(self.store.load(self.progress), self.diameter_A / self.particles.pixel_size_A)
        starts = self.stages.once("starts", lambda: self._starts(given))
        found = self.stages.once("poses", lambda: self._searched(starts))
        starts, found = self._on_axes(starts, found)
        state = self._refined(starts, found)
        return self._assembled(starts, state)

    def _starts(self, given: Sequence[Volume]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.config.seed)
        stores = []
        for rows in self.members:
            chosen = rows[torch.randperm(len(rows), generator=generator)[: SEARCHED_PARTICLES // 2]].sort().values
            stores.append(self.store.subset(chosen, self.config.search_radius, self.progress))
        diameter_px = self.diameter_A / self.particles.pixel_size_A
        finder = ClassFinder(self.config.search(), diameter_px, (self.progress, self.journal), self.config.classes)
        halves = (stores[0], stores[1])
        found = finder.from_given(halves, self._given(given)) if given else None
        if given and found is None:
            self.progress.message("Others explain the images better than the given maps: searching from random starts")
        found = finder.from_halves(halves) if found is None else found
        box = self.particles.box
        return {
            "maps": torch.stack([torch.stack([resize_map(m, box) for m in half]) for half in found.maps]),
            "noise": found.noise,
            "agreement_shells": found.agreement_shells,
            "revivals": torch.tensor([float(found.revivals)]),
            "shared_radius": torch.tensor([found.shared_radius]),
            "given": torch.tensor([float(len(given))]),
        }

    def _given(self, given: Sequence[Volume]) -> GivenClasses:
        radius = cut_off_radius(self.particles, self.config.start_A)
        seed = self.config.seed
        maps = [at_image_scale(low_pass(one.values, radius), self.store, radius, seed) for one in given]
        return GivenClasses(maps, radius)

    def _searched(self, starts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Pose of every particle in every class, and how well the class explains it."""
        reach = (SEARCH_RADIUS_SHARE * self.config.search_radius, self.config.shift_range_share)
        found = []
        for c in range(self.config.classes):
            halves = [(starts["maps"][half, c], starts["noise"]) for half in (0, 1)]
            found.append(
                search_halves(self.store, self.members, halves, reach, self.progress, most_candidates=FIRST_CANDIDATES)
            )
        names = ("rotations", "shifts_px", "log_evidence")
        return {name: torch.stack([one[name] for one in found], 1) for name in names}

    def _on_axes(
        self, starts: dict[str, Tensor], found: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps and poses of every class in the frame of the point group; each was found in one of its own."""
        symmetry = self.config.symmetry
        if len(point_group(symmetry)) == 1:
            return starts, found
        radius = SEARCH_RADIUS_SHARE * self.config.search_radius
        maps = starts["maps"].clone()
        rotations, shifts_px = found["rotations"].clone(), found["shifts_px"].clone()
        for c in range(self.config.classes):
            mean = maps[:, c].mean(0)
            if not float(mean.std()) > 0:
                continue
            axes = imposed_axes(self.stages, self.progress, mean, symmetry, radius, name=f"frame{c}")
            self.symmetry_agreement[c] = axes.metrics["symmetry_agreement"]
            if axes.frame is not None:
                rotations[:, c], shifts_px[:, c] = axes.frame.turned_poses(rotations[:, c], shifts_px[:, c])
                maps[:, c] = torch.stack([axes.frame.turned_map(values) for values in maps[:, c]])
        return {**starts, "maps": maps}, {**found, "rotations": rotations, "shifts_px": shifts_px}

    def _refined(self, starts: dict[str, Tensor], found: dict[str, Tensor]) -> ClassState:
        diameter_px = self.diameter_A / self.particles.pixel_size_A
        settings = RefinementSettings(
            diameter_px, self.config.symmetry, self.config.rounds, self.config.search_radius, realign=True
        )
        refinement = Refinement(self.store, self.half_sets, settings)
        reach = (SEARCH_RADIUS_SHARE * self.config.search_radius, self.config.shift_range_share)
        rounds = ClassRounds(SecondLook(refinement, *reach, self.progress))
        saved = self.stages.get("refinement")
        fresh = rounds.start(found, starts["noise"], starts["maps"])

        def after_round(state: ClassState) -> None:
            self.stages.keep("refinement", state.tensors())
            self.journal.log({"stage": "classes", **state.metrics()})

        return rounds.run(fresh if saved is None else ClassState.from_tensors(saved), self.progress, after_round)

    def _assembled(self, starts: dict[str, Tensor], state: ClassState) -> Result:
        """Maps of the classes, the largest first, from the particles that belong to each."""
        chosen = state.posteriors.argmax(1)
        order = torch.bincount(chosen, minlength=self.config.classes).argsort(descending=True, stable=True)
        rank = order.argsort()
        posteriors = state.posteriors[:, order]
        every = torch.arange(len(chosen))
        poses = Poses(state.rotations[every, chosen], state.shifts_px[every, chosen] * self.particles.pixel_size_A)
        placed = replace(self.particles.with_poses(poses), half_sets=self.half_sets)
        made = [self._class_map(placed, chosen == c) for c in order.tolist()]
        evidence = ClassEvidence(
            torch.bincount(rank[chosen], minlength=len(order)),
            starts["agreement_shells"][order],
            posteriors,
            float(starts["shared_radius"]),
        )
        verdict, reasons = judge_classes(made, evidence, self.config.search_radius)
        scores = {f"class_posterior_{k}": posteriors[:, k - 1] for k in range(1, len(order) + 1)}
        return Result(
            poses=poses,
            half_sets=self.half_sets,
            classes=rank[chosen] + 1,
            class_volumes=[result.volume for result in made if result is not None and result.volume is not None],
            scores={"max_probability": posteriors.amax(1), **scores},
            resolution_A=next((result.resolution_A for result in made if result is not None), None),
            verdict=verdict,
            symmetry=self.config.symmetry,
            warnings=(*self.warnings, *self._start_warnings(starts, order.tolist()), *reasons),
            metrics={
                **self._metrics(made, evidence, float(starts["revivals"])),
                **self._origins(starts, order.tolist()),
            },
        )

    def _start_warnings(self, starts: dict[str, Tensor], order: list[int]) -> list[str]:
        """What must be known of given maps that were left, and of classes that hardly show their point group."""
        left = float(starts["given"]) > 0 and float(starts["shared_radius"]) == 0
        found = [START_LEFT] if left else []
        for k, c in enumerate(order, start=1):
            warning = symmetry_warning(self.symmetry_agreement.get(c, 1.0), self.config.symmetry)
            found += [] if warning is None else [f"Class {k}: {warning}"]
        return found

    def _origins(self, starts: dict[str, Tensor], order: list[int]) -> dict[str, float]:
        """What each class began with, and how well it shows the point group."""
        figures = independence(float(starts["shared_radius"]), self.particles)
        for k, c in enumerate(order, start=1):
            if figures and float(starts["given"]) > 1:
                figures[f"class_{k}_start_map"] = float(c + 1)
            if c in self.symmetry_agreement:
                figures[f"class_{k}_symmetry_agreement"] = self.symmetry_agreement[c]
        return figures

    def _class_map(self, placed: Particles, mine: Tensor) -> Result | None:
        rows = torch.nonzero(mine)[:, 0]
        per_half = [int((self.half_sets[rows] == number).sum()) for number in (1, 2)]
        if min(per_half) < FEWEST / 2:
            return None
        config = ReconstructConfig(symmetry=self.config.symmetry, seed=self.config.seed)
        return reconstruct_halves(placed.select(rows), config, self.progress, balance=self.store.balance)

    def _metrics(self, made: list[Result | None], evidence: ClassEvidence, revivals: float) -> dict[str, float]:
        figures = {"diameter_A": self.diameter_A, "restarted_classes": revivals}
        for k, result in enumerate(made, start=1):
            figures[f"class_{k}_particles"] = float(evidence.sizes[k - 1])
            resolution = None if result is None else result.resolution_A
            figures[f"class_{k}_resolution_A"] = math.nan if resolution is None else resolution
            figures[f"class_{k}_agreement_shell"] = float(evidence.agreement_shells[k - 1])
        return figures
