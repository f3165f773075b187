"""Training of the autoencoder as a task for the training loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from vitreous.compute.annealing import Annealing
from vitreous.compute.epochs import shuffled_batches, steps_per_epoch
from vitreous.compute.processes import Rank
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.model import Autoencoder
from vitreous.methods.cryodrgn.schedule import HELD_FROM, Schedule
from vitreous.nn.pose_corrections import PoseCorrections, PoseTable
from vitreous.nn.posterior import Posterior
from vitreous.reconstruct.fourier_images import FourierImages, mean_squared_residual

ANNEAL = 0.5
"""Share of a training over which rates fall, where an encoder finds the latents."""


class Outcome(NamedTuple):
    """What a batch came to.

    Attributes
    ----------
    mean, log_variance, z
        Posterior of the latents and a sample of it, ``[b, dims]``.
    slices
        What was decoded there, before the CTF, ``[b, k]``.
    values
        What it is to match, ``[b, k]``.
    """

    mean: Tensor
    log_variance: Tensor
    z: Tensor
    slices: Tensor
    values: Tensor


class Network(nn.Module):
    """The autoencoder with the corrections of the poses, so that a distributed wrapper sees all parameters."""

    def __init__(self, autoencoder: Autoencoder, corrections: PoseCorrections | None, images: FourierImages) -> None:
        super().__init__()
        self.autoencoder, self.corrections = autoencoder, corrections
        self.disc = images.disc

    def forward(self, batch: Mapping[str, Tensor], *, moves_poses: bool) -> "Outcome":
        """Encode and decode a batch."""
        values, rotations = batch["values"], batch["rotations"]
        if self.corrections is not None:
            values, rotations = self.corrections.moved(batch, self.disc, moves=moves_poses)
        mean, log_variance, z, slices = self.autoencoder(values, batch["ctf"], rotations)
        return Outcome(mean, log_variance, z, slices, values)


@dataclass(frozen=True)
class Training:
    """A task for :func:`vitreous.train.loop.fit`.

    Attributes
    ----------
    images
        What is learned from.
    dims
        Size of the latents.
    config
        Networks and optimisation.
    maps
        Of an encoder that looks for principal maps.
    """

    images: FourierImages
    dims: int
    config: CryoDrgnConfig = field(default_factory=CryoDrgnConfig)
    maps: Tensor | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the particle set; those left over wait for the next epoch's order."""
        return steps_per_epoch(len(self.images), self.config.batch)

    def module(self) -> Network:
        """Make the networks."""
        box, config = self.images.particles.box, self.config
        corrections = PoseTable(len(self.images)) if config.refine_poses else None
        autoencoder = Autoencoder(box, self.dims, config, self.images.scale, maps=self.maps)
        return Network(autoencoder, corrections, self.images)

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make Adam; poses have a rate of their own."""
        return adam(module, self.config)

    def scheduler(self, optimizer: Optimizer) -> Schedule:
        """Let the rates fall at the end, and halve them where the loss no longer falls, with ``patience``."""
        return self.schedule(optimizer, self.config.patience or 0, self.config.beta_ramp, anneal=ANNEAL)

    def schedule(self, optimizer: Optimizer, patience: int, wait: float, *, anneal: float) -> Schedule:
        """Make a schedule; ``anneal`` stands for the share of the config where that says none."""
        share = anneal if self.config.anneal is None else self.config.anneal
        annealing = Annealing.at_end_of(self.steps_per_epoch * self.config.epochs, share)
        return Schedule(optimizer, self.steps_per_epoch, patience, wait, annealing=annealing)

    def batches(self, first_step: int, rank: Rank) -> Iterator[dict[str, Any]]:
        """Yield this process's images of every step; the order of an epoch depends on seed and epoch alone."""
        config = self.config
        for step, rows in shuffled_batches(len(self.images), config.batch, config.seed, first_step, rank):
            yield {**vars(self.images.views(rows)), "rows": rows, "step": step}

    def training_step(self, module: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the loss: mean squared residual per coefficient, and the divergence of the latents."""
        outcome = module(batch, moves_poses=self.epoch(batch) >= self.config.pose_wait)
        return self.losses(outcome, batch)

    def losses(self, outcome: Outcome, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        residual = mean_squared_residual(outcome.slices * batch["ctf"], outcome.values)
        divergence = Posterior(outcome.mean, outcome.log_variance).divergence().mean()
        loss = residual + self.beta(self.epoch(batch)) * divergence / (2 * outcome.values.shape[1])
        return {"loss": loss, "residual": residual, "divergence": divergence}

    def epoch(self, batch: Mapping[str, Any]) -> float:
        """Epochs before a batch."""
        return batch["step"] / self.steps_per_epoch

    def beta(self, epoch: float) -> float:
        """Weight of the divergence, which counts once per image beside ``2k`` real numbers."""
        full = self.config.full_beta(self.dims)
        return full * min(1.0, epoch / self.config.beta_ramp) if self.config.beta_ramp > 0 else full


def adam(
    module: nn.Module, config: CryoDrgnConfig, *, latents: float = 0.0, freeze_decoder_from: int | None = None
) -> Adam:
    """Make Adam in groups, each with a rate of its own; the decoder can be held from some step on."""
    rates = {
        "": config.learning_rate,
        "latents": latents,
        "maps": config.basis_learning_rate,
        "decoder": config.learning_rate,
        "corrections": config.pose_learning_rate,
    }
    parameters: dict[str, list[nn.Parameter]] = {part: [] for part in rates}
    for name, value in module.named_parameters():
        parameters[next((part for part in rates if part in name.split(".")), "")].append(value)
    hold = {} if freeze_decoder_from is None else {HELD_FROM: freeze_decoder_from}
    held = {"maps": hold, "decoder": hold}
    return Adam(
        [{"params": parameters[part], "lr": rates[part], **held.get(part, {})} for part in rates if parameters[part]]
    )
