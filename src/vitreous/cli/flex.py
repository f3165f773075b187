"""``vitreous flex``: latents of particles with known poses, and maps along them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from vitreous.analysis.description import DescriptionConfig, describe
from vitreous.cli.context import RunContext
from vitreous.cli.options import Output, TrainingCommon
from vitreous.cli.run_files import without_poses
from vitreous.cli.running import (
    Estimate,
    announce,
    begin,
    finish,
    open_folder,
    read_with,
    require_memory,
    resumable,
)
from vitreous.compute.device import resolve_device
from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Latents, Particles, Result, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.io import ReadOptions, open_particles_with
from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.registry import get
from vitreous.nn.encoders import refuse_multiplied
from vitreous.runs.manifest import Manifest
from vitreous.runs.store import RunFolder
from vitreous.train.config import Hardware, TrainConfig
from vitreous.typing import Float

if TYPE_CHECKING:
    from vitreous.methods.cryodrgn.method import Task
    from vitreous.methods.cryoformer.training import Training

Train = Callable[["Task | Training"], Mapping[str, Tensor]]

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

_OTHER_METHOD = "Name the method that trains networks, as --method cryonoo, or leave the option out"


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

    method: Literal["pca", "cryonoo", "cryodrgn", "autodecoder", "cryoformer"] = "pca"
    """pca, a mean and principal maps; cryonoo, a variational autoencoder whose encoder holds for particles it never
    saw; cryodrgn, the same without that; autodecoder, a latent per particle and no encoder; or cryoformer, a density in
    real space that shows what moves."""

    dims: int = 8
    """Size of the latents."""

    description: OmitArgPrefixes[DescriptionConfig] = field(default_factory=DescriptionConfig)

    minutes: float | None = None
    """End training after this time, to go on with --resume; no limit by default."""

    devices: int = 1
    """Processes that share every batch: one per GPU, or several on the CPU, which share --threads."""

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
        if self.method == "pca":
            self._refuse_options_of_training()
        self._require_devices()
        if self.method in ("pca", "cryoformer") and self.network != CryoDrgnConfig():
            self._refuse_options_of_networks()
        for name, usual in _OF_METHODS.items():
            owner = "cryonoo" if name == "noo" else name
            if self.method != owner and getattr(self, name) != usual:
                raise ConfigError(
                    f"--{name}.* belongs to --method {owner}", remedy=f"Add --method {owner}, or leave it out"
                )
        if self.method == "autodecoder" and self.network.encoder is not None:
            raise ConfigError("--encoder does not belong to --method autodecoder: it has none", remedy="Leave it out")
        if self.method == "cryonoo":
            self.noo.refuse_unless_reached(self.network)

    def _refuse_options_of_training(self) -> None:
        """Refuse what only methods that train networks take."""
        given = {
            "--precision": self.common.precision != TrainingCommon().precision,
            "--minutes": self.minutes is not None,
            "--devices": self.devices != 1,
        }
        for flag in (flag for flag, is_given in given.items() if is_given):
            raise ConfigError(f"{flag} belongs to methods that train networks", remedy=_OTHER_METHOD)

    def _refuse_options_of_networks(self) -> None:
        """Refuse options of another method's networks, and name those of this method that mean the same."""
        given = [each.name for each in fields(self.network) if getattr(self.network, each.name) != each.default]
        known = {each.name for each in fields(getattr(self, self.method))}
        flags = [f"--{name.replace('_', '-')}" for name in given]
        own = [f"--{self.method}.{name.replace('_', '-')}" for name in given if name in known]
        raise ConfigError(
            f"{' and '.join(flags)} {'do' if len(flags) > 1 else 'does'} not belong to --method {self.method}",
            remedy=f"Did you mean {' and '.join(own)}" if own else _OTHER_METHOD,
        )

    def _require_devices(self) -> None:
        """Refuse numbers of processes among which no batch can be shared evenly."""
        if self.devices < 1 or self.trained.batch % self.devices:
            raise ConfigError(
                f"--devices must divide {self._flag('batch')}",
                expected=f"a divisor of {self.trained.batch}",
                found=self.devices,
                remedy=f"Change --devices or {self._flag('batch')}",
            )

    def _flag(self, name: str) -> str:
        """Flag of a setting of what is trained."""
        return f"--cryoformer.{name}" if self.method == "cryoformer" else f"--{name}"

    def run(self, context: RunContext) -> None:
        """Read the particles, fit, decode maps, write."""
        if not begin(context, self.output, self.common, on_gpu=self.method != "pca"):
            return
        particles = open_particles_with(self.stack, self.reading)
        if particles.poses is None:
            raise without_poses(self.stack, "Run `vitreous abinitio` first, or give --poses")
        if self.looks_for_maps:
            refuse_multiplied(particles, "to be found", self._flag("encoder"))
        _check_number(particles, self.dims, context)
        announce(context, particles, self._estimate(particles, context))
        inputs = (self.stack, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder, resumable(context, folder):
            progress = context.progress()
            try:
                result, model = self._fit(particles, progress, folder, context)
            except _UnfinishedError:
                context.say(f"stopped after {self.minutes} minutes; --resume goes on")
                return
            finish(context, folder, describe(result, self.description, model.volume, progress), particles)

    def _fit(
        self, particles: Particles, progress: Progress, folder: RunFolder, context: RunContext
    ) -> tuple[Result, FlexModel]:
        if self.method == "pca":
            return get("pca")(self.dims, self.pca).run(particles, progress)
        device = resolve_device(self.common.device)
        method = get(self.method)(self.dims, *self.settings, **self._maps(particles, progress, folder, context))
        return method.run(particles, progress, self._trainer(progress, folder, device), device)

    def _maps(
        self, particles: Particles, progress: Progress, folder: RunFolder, context: RunContext
    ) -> dict[str, Tensor]:
        """Principal maps of an encoder that looks for them: those of the run that goes on, or new ones."""
        if not self.looks_for_maps:
            return {}
        saved = folder.checkpointer(Manifest.read(folder.path)).load()
        known = [] if saved is None else [value for name, value in saved[0].items() if name.endswith(_ENCODER_MAPS)]
        if known:
            return {"maps": known[0]}
        config = PcaConfig(seed=self.trained.seed)
        result, found = get("pca")(self.trained.encoder_maps, config).run(particles, progress)
        for warning in result.warnings:
            context.warn(warning)
        return {"maps": found.maps}

    @property
    def looks_for_maps(self) -> bool:
        """Whether the encoder is one of principal maps, as CryoNOO's is by default: it holds for new particles."""
        if self.trained.encoder is None:
            return self.method == "cryoformer" or (self.method == "cryonoo" and self.noo.views != "turned")
        return self.trained.encoder == "maps"

    @property
    def trained(self) -> CryoDrgnConfig | CryoFormerConfig:
        """Settings of what is trained."""
        return self.cryoformer if self.method == "cryoformer" else self.network

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the method is made with, beside the size of the latents."""
        of_method = {"cryonoo": (self.noo,), "autodecoder": (self.autodecoder,)}
        return (self.trained, *of_method.get(self.method, ()))

    def hardware(self, device: torch.device) -> Hardware:
        """What training runs on."""
        accelerator: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
        return Hardware(accelerator, self.devices, self.common.precision, device.index or 0)

    def _estimate(self, particles: Particles, context: RunContext) -> Estimate:
        """Memory, which is required here; and time, for which a few steps are tried where anyone is told."""
        from vitreous.cli.flex_estimate import core_seconds_of, memory_of

        memory = memory_of(self, particles)
        require_memory(particles, memory)
        if context.common.quiet:
            return memory
        device = resolve_device("cpu" if self.method == "pca" else self.common.device)
        return replace(memory, core_seconds=core_seconds_of(self, particles, device))

    def _trainer(self, progress: Progress, folder: RunFolder, device: torch.device) -> Train:
        from vitreous.train.loop import fit
        from vitreous.train.task import Callbacks

        hardware = self.hardware(device)
        store = folder.checkpointer(Manifest.read(folder.path))

        def train(task: "Task | Training") -> Mapping[str, Tensor]:
            each = task.steps_per_epoch
            config = TrainConfig(
                steps=each * self.trained.epochs,
                minutes=self.minutes,
                gradient_clip=None,
                log_every=each,
                seed=self.trained.seed,
            )

            # bars of a terminal cannot be handed to other processes
            shown = progress if self.devices == 1 else SilentProgress()
            trained = fit(task, config, hardware, Callbacks(_EpochLog(folder, each), store, shown))
            if trained.stopped == "signal":
                raise KeyboardInterrupt
            if trained.stopped != "steps":
                raise _UnfinishedError
            return trained.parameters

        return train


@dataclass(frozen=True)
class _EpochLog:
    """Adds the epoch to the lines of the training loop."""

    folder: RunFolder
    each: int

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Log a line."""
        self.folder.log({"epoch": round(line["step"] / self.each, 3), **line})


def _check_number(particles: Particles, dims: int, context: RunContext) -> None:
    """Refuse fewer particles than latents tell apart, and warn where they are few."""
    if len(particles) < max(_FEWEST, 2 * dims):
        lower = f"Lower --dims to {len(particles) // 2} or less, or give more particles"
        raise InputError(
            "too few particles to find how they differ",
            expected=f"at least {max(_FEWEST, 2 * dims)}",
            found=len(particles),
            remedy="Give more particles, or `vitreous reconstruct` them" if len(particles) < _FEWEST else lower,
        )
    if len(particles) < _FEW:
        context.warn(f"{len(particles)} particles are few: their latents may show noise. Compare runs of two halves")
