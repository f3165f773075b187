"""The search method: particles in, judged map and poses out."""

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Poses, Result, Volume
from vitreous.errors import InputError
from vitreous.fourier.transform import centred_resize
from vitreous.methods.search.abinitio import AbInitio
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.global_search import GlobalPoses, search_all
from vitreous.methods.search.refinement import Refinement, RefinementSettings, RefinementState, log_likelihoods
from vitreous.methods.search.verdict import judge
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.diameter import estimate_diameter_A
from vitreous.reconstruct.known_poses import ReconstructConfig, reconstruct_halves, split_half_sets
from vitreous.typing import Float, Map

MIN_PARTICLES = 100
SEARCH_RADIUS_SHARE = 0.75
"""The global search uses three quarters of the ab initio radius: the outer shells are the least certain."""

ABINITIO_PARTICLES = 20_000
"""The start is found from a random subset of at most this many particles."""


class Search:
    """Ab initio reconstruction by marginalised projection matching, then gold-standard refinement."""

    def __init__(self, config: SearchConfig | None = None) -> None:
        self.config = SearchConfig() if config is None else config

    def run(self, particles: Particles, progress: Progress, mask: Volume | None = None) -> Result:
        """Find a map and the poses of all particles.

        Raises
        ------
        InputError
            If there are fewer than 100 particles or the box is below 24 pixels.
        """
        _check(particles)
        config = self.config
        notes = []
        diameter_A, seen = (config.diameter_A, True) if config.diameter_A else estimate_diameter_A(particles)
        if not seen:
            notes.append(
                f"The images show no clear edge of the particle; a diameter of {diameter_A:.0f} Å was assumed. "
                "Give --diameter-A if the map looks cut or noisy."
            )
        progress.message(f"Particle diameter: {diameter_A:.0f} Å")
        diameter_px = diameter_A / particles.pixel_size_A
        store = CoefficientStore(particles, particles.box / 2 - 1.0).load(progress)
        start, noise = self._start(particles, store, diameter_px, progress)
        found = search_all(
            store,
            start,
            noise,
            SEARCH_RADIUS_SHARE * config.search_radius,
            shift_share=config.shift_range_share,
            progress=progress,
        )
        half_sets = split_half_sets(particles, config.seed)
        settings = RefinementSettings(
            diameter_px, config.symmetry, config.refine_iterations, 0.85 * config.search_radius
        )
        refinement = Refinement(store, half_sets, settings, progress)
        state = refinement.run(refinement.start((found.rotations, found.shifts_px), noise, start))
        gains = log_likelihoods(store, state, half_sets, min(state.radius, config.search_radius))
        poses = Poses(state.rotations, state.shifts_px * particles.pixel_size_A)
        finished = particles.with_poses(poses)
        made = reconstruct_halves(
            finished, ReconstructConfig(symmetry=config.symmetry, seed=config.seed), progress, mask
        )
        return self._result(made, poses, (found, gains), state, [*notes, *made.warnings], diameter_A)

    def _start(
        self, particles: Particles, store: CoefficientStore, diameter_px: float, progress: Progress
    ) -> tuple[Map, Float[Tensor, " s"]]:
        """Stochastic map, brought to the images' box."""
        generator = torch.Generator().manual_seed(self.config.seed)
        chosen = store
        if len(particles) > ABINITIO_PARTICLES:
            subset = torch.randperm(len(particles), generator=generator)[:ABINITIO_PARTICLES].sort().values
            chosen = CoefficientStore(particles.select(subset), self.config.search_radius).load(progress)
        run = AbInitio(chosen, self.config, diameter_px, generator)
        values = run.run(progress)
        return resize_map(values, particles.box), run.noise

    def _result(
        self,
        made: Result,
        poses: Poses,
        evidence: tuple[GlobalPoses, Float[Tensor, " n"]],
        state: RefinementState,
        warnings: list[str],
        diameter_A: float,
    ) -> Result:
        found, gains = evidence
        verdict, reasons = judge(made, found, gains)
        return Result(
            volume=made.volume,
            half_maps=made.half_maps,
            mask=made.mask,
            half_sets=made.half_sets,
            curves=made.curves,
            resolution_A=made.resolution_A,
            poses=poses,
            scores={
                "log_likelihood": gains,
                "effective_poses": found.effective_poses,
                "max_probability": found.probability,
            },
            verdict=verdict,
            warnings=(*warnings, *reasons),
            metrics={**made.metrics, "diameter_A": diameter_A, "refined_radius": state.radius},
        )


def _check(particles: Particles) -> None:
    if len(particles) < MIN_PARTICLES:
        raise InputError(
            "too few particles for ab initio",
            expected=f"at least {MIN_PARTICLES}",
            found=len(particles),
            remedy="Give more particles, or use `vitreous reconstruct` if they have poses",
        )
    if particles.box < 24:
        raise InputError(
            "the box is too small",
            expected="at least 24 px",
            found=f"{particles.box} px",
            remedy="Extract the particles in a larger box",
        )


def resize_map(values: Map, box: int) -> Map:
    """Bring a map to another box over the same field; slices keep their values, frequencies beyond are zero."""
    full = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(values)))
    resized = centred_resize(full, box, (0, 1, 2))
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(resized))).real
