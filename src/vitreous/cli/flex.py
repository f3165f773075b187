"""``vitreous flex``: latents of particles with known poses, and maps along them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from vitreous.analysis.description import DescriptionConfig, describe
from vitreous.cli.context import RunContext
from vitreous.cli.options import Output, TrainingCommon
from vitreous.cli.running import (
    Estimate,
    announce,
    begin,
    finish,
    open_folder,
    read_with,
)
from vitreous.compute.device import resolve_device
from vitreous.compute.progress import Progress
from vitreous.data import Latents, Particles, Result, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.io import ReadOptions, open_particles_with
from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.cost import points_per_image, training_products
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.registry import get
from vitreous.runs.manifest import Manifest
from vitreous.runs.store import RunFolder
from vitreous.train.config import Hardware, TrainConfig
from vitreous.typing import Float

if TYPE_CHECKING:
    from vitreous.methods.cryodrgn.method import Task
    from vitreous.methods.cryoformer.training import Training

Train = Callable[["Task | Training"], Mapping[str, Tensor]]

_FLOPS = 5e10
"""Products per second of one core, roughly."""

_BYTES_PER_POINT, _POINTS_IN_MEMORY = 5000.0, 1 << 20
"""What the networks of cryoformer keep of a point for their gradient, and of how many points at one time."""

_FEWEST, _FEW = 20, 500
"""Particles that are too few to learn from, or few."""

_ENCODER_MAPS = "encoder.maps"
"""End of the name under which checkpoints keep the principal maps of an encoder."""

_OF_METHODS = {
    "noo": CryoNooConfig(),
    "autodecoder": AutodecoderConfig(),
    "cryoformer": CryoFormerConfig(),
    "pca": PcaConfig(),
}
"""Groups of options that belong to one method, and their defaults."""


@runtime_checkable
class FlexModel(Protocol):
    """What a method leaves: latents of any particles, maps of any latent."""

    @property
    def box(self) -> int:
        """Side of the maps in voxels."""
        ...

    @property
    def pixel_size_A(self) -> float:
        """Side of a voxel in Å."""
        ...

    def embed(self, particles: Particles, progress: Progress) -> Latents:
        """Return the latents of particles with poses."""
        ...

    def volume(self, z: Float[Tensor, " dims"]) -> Volume:
        """Return the map of one latent."""
        ...


class _UnfinishedError(Exception):
    """Training ended before its last step, by the clock."""


@dataclass(frozen=True)
class Flex:
    """Find motions: latents of particles with known poses, and maps along them.

    A training that was stopped, or that came to the end of --minutes, goes on with --resume and the same options.
    """

    stack: Positional[Path]
    """Particles with poses: .star, .cs, or .mrcs with --poses."""

    output: Output
    """Folder for the latents, the maps and the report."""

    method: Literal["cryodrgn", "cryonoo", "autodecoder", "cryoformer", "pca"] = "cryodrgn"
    """cryodrgn, a variational autoencoder; cryonoo, the same with an encoder that holds for particles it never saw;
    autodecoder, a latent per particle and no encoder; cryoformer, a density in real space that shows what moves; or
    pca, a mean and principal maps."""

    dims: int = 8
    """Size of the latents."""

    description: OmitArgPrefixes[DescriptionConfig] = field(default_factory=DescriptionConfig)

    minutes: float | None = None
    """End training after this time, to go on with --resume; no limit by default."""

    network: OmitArgPrefixes[CryoDrgnConfig] = field(default_factory=CryoDrgnConfig)
    noo: CryoNooConfig = field(default_factory=CryoNooConfig)
    autodecoder: AutodecoderConfig = field(default_factory=AutodecoderConfig)
    cryoformer: CryoFormerConfig = field(default_factory=CryoFormerConfig)
    pca: PcaConfig = field(default_factory=PcaConfig)
    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[TrainingCommon] = field(default_factory=TrainingCommon)

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be, and options of the other method."""
        if self.dims < 1:
            raise ConfigError("--dims must be at least 1", found=self.dims, remedy="Change --dims")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError("--minutes must be positive", found=self.minutes, remedy="Change --minutes")
        if self.method == "pca" and self.common.precision != TrainingCommon().precision:
            raise ConfigError("--precision belongs to methods that train networks", remedy="Leave it out")
        if self.method in ("pca", "cryoformer") and self.network != CryoDrgnConfig():
            own = f"Leave them out; its own begin with --{self.method}."
            raise ConfigError(f"options of networks do not belong to --method {self.method}", remedy=own)
        for name, usual in _OF_METHODS.items():
            owner = "cryonoo" if name == "noo" else name
            if self.method != owner and getattr(self, name) != usual:
                raise ConfigError(f"--{name}.* belongs to --method {owner}", remedy="Leave it out")
        if self.method == "autodecoder" and self.network.encoder is not None:
            raise ConfigError("--encoder does not belong to --method autodecoder: it has none", remedy="Leave it out")
        if self.method == "cryonoo":
            self.noo.refuse_unless_reached(self.network)

    def run(self, context: RunContext) -> None:
        """Read the particles, fit, decode maps, write."""
        if not begin(context, self.output, self.common, on_gpu=self.method != "pca"):
            return
        particles = open_particles_with(self.stack, self.reading)
        if particles.poses is None:
            raise InputError(
                "the particles have no poses",
                remedy="Run `vitreous abinitio` first, or give --poses",
                path=self.stack,
            )
        _check_number(particles, self.dims, context)
        announce(context, particles, self._estimate(particles))
        inputs = (self.stack, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder:
            progress = context.progress()
            try:
                result, model = self._fit(particles, progress, folder)
            except _UnfinishedError:
                context.say(f"stopped after {self.minutes} minutes; --resume goes on")
                return
            except KeyboardInterrupt:
                if folder.checkpoint.exists():
                    context.say("stopped; --resume goes on")
                raise
            finish(context, folder, describe(result, self.description, model.volume, progress), particles)

    def _fit(self, particles: Particles, progress: Progress, folder: RunFolder) -> tuple[Result, FlexModel]:
        if self.method == "pca":
            return get("pca")(self.dims, self.pca).run(particles, progress)
        device = resolve_device(self.common.device)
        method = get(self.method)(self.dims, *self._settings(), **self._maps(particles, progress, folder))
        return method.run(particles, progress, self._trainer(progress, folder, device), device)

    def _maps(self, particles: Particles, progress: Progress, folder: RunFolder) -> dict[str, Tensor]:
        """Principal maps of an encoder that looks for them: those of the run that goes on, or new ones."""
        if not self._looks_for_maps:
            return {}
        saved = folder.checkpointer(Manifest.read(folder.path)).load()
        known = [] if saved is None else [value for name, value in saved[0].items() if name.endswith(_ENCODER_MAPS)]
        if known:
            return {"maps": known[0]}
        config = PcaConfig(seed=self._trained.seed)
        return {"maps": get("pca")(self._trained.encoder_maps, config).run(particles, progress)[1].maps}

    @property
    def _looks_for_maps(self) -> bool:
        """Whether the encoder is one of principal maps, as CryoNOO's is by default: it holds for new particles."""
        if self._trained.encoder is None:
            return self.method == "cryoformer" or (self.method == "cryonoo" and self.noo.views != "turned")
        return self._trained.encoder == "maps"

    @property
    def _trained(self) -> CryoDrgnConfig | CryoFormerConfig:
        """Settings of what is trained."""
        return self.cryoformer if self.method == "cryoformer" else self.network

    def _settings(self) -> tuple[Any, ...]:
        of_method = {"cryonoo": (self.noo,), "autodecoder": (self.autodecoder,)}
        return (self._trained, *of_method.get(self.method, ()))

    def _trainer(self, progress: Progress, folder: RunFolder, device: torch.device) -> Train:
        from vitreous.train.loop import fit
        from vitreous.train.task import Callbacks

        accelerator: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
        hardware = Hardware(accelerator, 1, self.common.precision, device.index or 0)
        store = folder.checkpointer(Manifest.read(folder.path))

        def train(task: "Task | Training") -> Mapping[str, Tensor]:
            each = task.steps_per_epoch
            config = TrainConfig(
                steps=each * self._trained.epochs,
                minutes=self.minutes,
                gradient_clip=None,
                log_every=each,
                seed=self._trained.seed,
            )

            def log(line: Mapping[str, Any]) -> None:
                folder.log({"epoch": round(line["step"] / each, 3), **line})

            trained = fit(task, config, hardware, Callbacks(log, store, progress))
            if trained.stopped == "signal":
                raise KeyboardInterrupt
            if trained.stopped != "steps":
                raise _UnfinishedError
            return trained.parameters

        return train

    def _estimate(self, particles: Particles) -> Estimate:
        """Images up to 2 GB, and the activations of a batch or padded grids; products of networks, or insertions."""
        if self.method == "pca":
            return _estimate_maps(particles, self.dims, self.pca.iterations)
        fitted = Estimate(0.0, 0.0)
        if self._looks_for_maps:
            fitted = _estimate_maps(particles, self._trained.encoder_maps, PcaConfig().iterations)
        trained = self._estimate_trained(particles)
        memory_bytes = max(fitted.memory_bytes, trained.memory_bytes)
        return Estimate(memory_bytes, fitted.core_seconds + trained.core_seconds)

    def _estimate_trained(self, particles: Particles) -> Estimate:
        if self.method == "cryoformer":
            points = self.cryoformer.batch * points_per_image(particles.box, self.cryoformer)
            of_points = _BYTES_PER_POINT * min(points, _POINTS_IN_MEMORY)
            products = training_products(len(particles), particles.box, self.cryoformer)
            return Estimate(_bytes_of_images(particles) + of_points + 1e9, products / _FLOPS)
        net, n, pixels = self.network, len(particles), 0.39 * particles.box**2
        images = _bytes_of_images(particles)
        if net.decoder == "basis":
            maps = 1 + (net.basis_maps or self.dims)
            of_basis = 5 * 8 * maps * (2.0 * particles.box + 1) ** 2 * (particles.box + 1)
            return Estimate(images + of_basis + 8e8, 3e-8 * n * net.epochs * pixels * maps)
        activations = 30.0 * net.batch * pixels * net.decoder_width * (1 + net.decoder_layers)
        products = 6.0 * n * net.epochs * pixels * net.decoder_width**2 * (1 + net.decoder_layers)
        return Estimate(images + activations + 8e8, products / _FLOPS)


def _bytes_of_images(particles: Particles) -> float:
    """What is kept of the coefficients inside the Nyquist circle."""
    return min(12 * len(particles) * 0.39 * particles.box**2, 2e9)


def _check_number(particles: Particles, dims: int, context: RunContext) -> None:
    """Refuse fewer particles than latents tell apart, and warn where they are few."""
    if len(particles) < max(_FEWEST, 2 * dims):
        raise InputError(
            "too few particles to find how they differ",
            expected=f"at least {max(_FEWEST, 2 * dims)}",
            found=len(particles),
            remedy="Give more particles, or `vitreous reconstruct` them",
        )
    if len(particles) < _FEW:
        context.warn(f"{len(particles)} particles are few: their latents may show noise. Compare runs of two halves")


def _estimate_maps(particles: Particles, dims: int, rounds: int) -> Estimate:
    """Padded grids of all maps, and insertions into them."""
    grids = 20 * (1 + dims) * (2 * particles.box) ** 3
    return Estimate(grids + 8e8, 1e-7 * len(particles) * 0.39 * particles.box**2 * (1 + dims) * rounds)
