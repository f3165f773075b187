"""The FastAR method: poses by forward passes of a pre-trained network, then one back-projection."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Journal, Particles, Poses, Result, Volume
from vitreous.methods.fastar.centring import centre_shifts
from vitreous.methods.fastar.config import FastARConfig
from vitreous.methods.fastar.fusion import Fused, fuse
from vitreous.methods.fastar.halves import Joined, join_halves
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.placement import SET, Placed, Placement
from vitreous.methods.fastar.standardise import best_treatment, field_of, standard_views
from vitreous.methods.fastar.verdict import judge
from vitreous.methods.fastar.views import Views
from vitreous.reconstruct.abinitio_input import check_input, known_diameter_A
from vitreous.reconstruct.backprojection import batches
from vitreous.reconstruct.known_poses import ReconstructConfig, check_half_sets, reconstruct_halves, split_half_sets


@dataclass(frozen=True)
class Proposal:
    """Two maps for a search to begin from, and how far they can be trusted.

    Attributes
    ----------
    maps
        One per half-set, in one frame, in a small box over the images' field; slices have the scale of the images.
    half_sets
        1 or 2 for every particle, also for those that were not placed.
    agreement_shell
        Shell, in Fourier pixels, at which the two maps stop agreeing (FSC 0.5).
    verdict, reasons
        ``"solved"``, ``"ambiguous"`` or ``"failed"``, and why.
    warnings
        About the particles, for the user.
    metrics
        ``diameter_A``, ``network_agreement_shell``, ``network_mean_confidence``, ``network_median_spread_deg``.
    """

    maps: tuple[Volume, Volume]
    half_sets: Tensor
    agreement_shell: float
    verdict: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    metrics: Mapping[str, float]


class FastAR:
    """Ab initio poses by a pre-trained network (CryoFastAR, arXiv:2506.05864), without any search.

    The particles are split into two halves from the beginning. In each, random particles are tried as references,
    the best are kept, every particle is placed in the frame of each of them, and the frames are fused. The halves
    meet as maps: how far these agree is the evidence for the verdict.
    """

    def __init__(self, network: PoseNetwork, config: FastARConfig | None = None) -> None:
        self.network = network
        self.config = FastARConfig() if config is None else config

    def run(
        self,
        particles: Particles,
        progress: Progress | None = None,
        mask: Volume | None = None,
        journal: Journal | None = None,
    ) -> Result:
        """Predict the poses of all particles and reconstruct.

        Parameters
        ----------
        particles
            At least 100; poses in them are not used.
        progress, journal
            Where to report; nowhere by default.
        mask
            Soft mask of the final FSC; made from the map by default.

        Returns
        -------
        Result
            Poses, maps, ``scores`` (``confidence``, ``spread_deg``), a verdict and, as ``metrics``, those of
            :class:`Proposal`.

        Raises
        ------
        InputError
            If there are fewer than 100 particles, or the half-sets that they come with cannot be used.
        ConfigError
            If the diameter is larger than the box.
        """
        check_input(particles, self.config.diameter_A)
        return _FastARRun(self.network, self.config, particles, progress or SilentProgress()).result(mask, journal)

    def propose(
        self, particles: Particles, progress: Progress | None = None, journal: Journal | None = None
    ) -> Proposal:
        """Predict the poses of some particles, as many as ``frames.particles`` says, and make two maps of them.

        Raises
        ------
        InputError
            If there are fewer than 100 particles, or the half-sets that they come with cannot be used.
        ConfigError
            If the diameter is larger than the box.
        """
        check_input(particles, self.config.diameter_A)
        half_sets = split_half_sets(particles, self.config.seed)
        halved = replace(particles, half_sets=half_sets)
        generator = torch.Generator().manual_seed(self.config.seed)
        halves = [torch.nonzero(half_sets == number)[:, 0] for number in (1, 2)]
        most = self.config.frames.particles // 2
        some = torch.cat([rows[torch.randperm(len(rows), generator=generator)[:most]] for rows in halves])
        chosen = halved.select(some.sort().values)
        run = _FastARRun(self.network, self.config, chosen, progress or SilentProgress())
        return run.proposal(half_sets, journal)


@dataclass
class _Half:
    """One half's particles and what was found for them."""

    rows: Tensor
    fused: Fused
    shifts_A: Tensor


@dataclass
class _Predicted:
    """Both halves together, judged."""

    joined: Joined
    confidences: Tensor
    spread_deg: Tensor
    verdict: str
    reasons: list[str]
    metrics: dict[str, float]


class _FastARRun:
    """One run over one particle set."""

    def __init__(self, network: PoseNetwork, config: FastARConfig, particles: Particles, progress: Progress) -> None:
        self.network, self.config, self.particles, self.progress = network, config, particles, progress
        self.diameter_A, self.warnings = known_diameter_A(particles, config.diameter_A, progress)
        self.half_sets = split_half_sets(particles, config.seed)
        self.warnings += check_half_sets(self.half_sets)
        self.treatment = best_treatment(particles)

    def result(self, mask: Volume | None, journal: Journal | None) -> Result:
        """Place all particles, reconstruct and judge."""
        found = self._predict(journal)
        placed = replace(self.particles.with_poses(found.joined.poses), half_sets=self.half_sets)
        made = reconstruct_halves(placed, ReconstructConfig(seed=self.config.seed), self.progress, mask)
        return replace(
            made,
            poses=found.joined.poses,
            scores={"confidence": found.confidences, "spread_deg": found.spread_deg},
            verdict=found.verdict,
            warnings=(*dict.fromkeys((*self.warnings, *made.warnings)), *found.reasons),
            metrics={**made.metrics, **found.metrics},
        )

    def proposal(self, half_sets: Tensor, journal: Journal | None) -> Proposal:
        """Place all particles of this run and judge; ``half_sets`` are those of all particles."""
        found = self._predict(journal)
        return Proposal(
            maps=found.joined.maps,
            half_sets=half_sets,
            agreement_shell=found.joined.agreement_shell,
            verdict=found.verdict,
            reasons=tuple(found.reasons),
            warnings=tuple(self.warnings),
            metrics=found.metrics,
        )

    def _predict(self, journal: Journal | None) -> "_Predicted":
        halves = [self._half(number) for number in (1, 2)]
        joined = join_halves(self.particles, self._poses(halves), self.half_sets, self.progress)
        confidences, spread = (self._gather(halves, name) for name in ("confidences", "spread_deg"))
        compared = spread if self.config.frames.compared > 1 else None
        verdict, reasons = judge(
            joined.agreement_shell, self.diameter_A / self._side_A, float(confidences.mean()), compared
        )
        metrics = self._metrics(joined, confidences, spread)
        if journal is not None:
            journal.log({"stage": "network", **metrics})
        return _Predicted(joined, confidences, spread, verdict, reasons, metrics)

    @property
    def _side_A(self) -> float:
        return self.particles.box * self.particles.pixel_size_A

    def _metrics(self, joined: Joined, confidences: Tensor, spread: Tensor) -> dict[str, float]:
        return {
            "diameter_A": self.diameter_A,
            "network_agreement_shell": joined.agreement_shell,
            "network_mean_confidence": float(confidences.mean()),
            "network_median_spread_deg": float(spread.median()),
        }

    def _half(self, number: int) -> _Half:
        """Predict one half's poses in frames of its own, centred and compared with what the pass before found."""
        rows = torch.nonzero(self.half_sets == number)[:, 0]
        generator = torch.Generator().manual_seed(self.config.seed + number)
        field_A, frames = field_of(self.diameter_A), self.config.frames
        centres_A = self._found_centres(rows)
        references: Tensor | None = None
        placed: Placed | None = None
        for _ in range(frames.passes):
            placement = Placement(self.network, self._views(rows, centres_A))
            if references is None:
                ranked = placement.rank_references(frames.candidates, frames.ranking_views, generator, self.progress)
                references = ranked[: frames.references]
            placed = placement.place(references, generator, self.progress, placed)
            fused = fuse(placed)
            shifts_A = centres_A + fused.shifts * field_A
            centres_A = shifts_A
            best = fused.weights.argsort(descending=True)[: frames.finalists]
            references, placed = references[best], placed.frames(best)
        return _Half(rows, fused, shifts_A)

    def _found_centres(self, rows: Tensor) -> Tensor:
        """Centre the views by correlation, set by set."""
        blank = torch.zeros(len(rows), 2)
        found = []
        for part in torch.split(torch.arange(len(rows)), SET):
            views, _ = self._cut(rows[part], blank[part], masked=False)
            found.append(centre_shifts(views[None])[0])
        return torch.cat(found) * field_of(self.diameter_A)

    def _views(self, rows: Tensor, centres_A: Tensor) -> Views:
        parts = [self._cut(rows[part], centres_A[part], masked=True) for part in batches(len(rows), self.particles.box)]
        images, ctf_size = (torch.cat(column)[None] for column in zip(*parts))
        return Views(images, ctf_size, torch.tensor([self.treatment]))

    def _cut(self, rows: Tensor, centres_A: Tensor, *, masked: bool) -> tuple[Tensor, Tensor]:
        box, field_A = self.network.config.box, field_of(self.diameter_A)
        return standard_views(self.particles, rows, field_A, centres_A, self.treatment, box=box, masked=masked)

    def _gather(self, halves: list[_Half], name: str) -> Tensor:
        values = torch.zeros(len(self.particles))
        for half in halves:
            values[half.rows] = getattr(half.fused, name)
        return values

    def _poses(self, halves: list[_Half]) -> Poses:
        rotations, shifts_A = torch.empty(len(self.particles), 3, 3), torch.empty(len(self.particles), 2)
        for half in halves:
            rotations[half.rows], shifts_A[half.rows] = half.fused.rotations, half.shifts_A
        return Poses(rotations, shifts_A)
