"""Training of encoder and map as a task for the training loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitreous.compute.epochs import shuffled_batches, steps_per_epoch
from vitreous.compute.processes import Rank
from vitreous.fourier.frequencies import Disc
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.encoder import Encoder, PoseGuesses
from vitreous.methods.cryoai.images import ImageReader, disc_of
from vitreous.methods.cryoai.losses import chosen, competing_poses, squared_residuals
from vitreous.methods.cryoai.volume import make_volume
from vitreous.physics.shifts import disc_phases
from vitreous.typing import Complex, Float

_POINTS_ON_GPU = 1 << 20
"""Points at which the map is computed at a time, where poses compete."""


class Network(nn.Module):
    """Encoder and map; ``forward`` returns the loss of every image with the best of its poses.

    Parameters
    ----------
    box, input_box
        Sides of the decoder's and the encoder's images.
    config
        Networks and loss.
    amplitude
        Of the map's coefficients in every shell; see :func:`~vitreous.methods.cryoai.volume.make_volume`.

    Attributes
    ----------
    explained
        Power that the map explained in every round of training, as a share of all, ``[rounds]``; kept with the
        parameters, so that a run that goes on knows of it.
    steps_done
        Steps of training, a number.
    """

    kxy: Tensor
    explained: Tensor
    steps_done: Tensor

    def __init__(
        self, box: int, input_box: int, config: CryoAIConfig, amplitude: Float[Tensor, " shells"] | None = None
    ) -> None:
        super().__init__()
        self.box, self.config = box, config
        rounds = -(-config.steps // config.round_steps)
        self.register_buffer("kxy", torch.stack([self.disc.kx, self.disc.ky], -1), persistent=False)
        self.register_buffer("explained", torch.zeros(rounds))
        self.register_buffer("steps_done", torch.tensor(0))
        self.encoder = Encoder(input_box, config)
        self.volume = make_volume(box, config, amplitude)

    @property
    def disc(self) -> Disc:
        """The coefficients that images have."""
        return disc_of(self.box)

    def forward(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the mean residual per coefficient of every image, and that of an empty map."""
        count = self.count_at(batch["step"])
        values = batch["values"][:, :count]
        guesses = self.guesses(batch["inputs"])
        if guesses.count > 1:
            guesses = chosen(guesses, self.best(guesses, batch, count))
        residual = squared_residuals(self.predicted(guesses, batch["ctf"], count), values)[:, 0]
        power = torch.view_as_real(values).square().sum(-1).mean(-1)
        self._note(batch["step"], 1 - (residual.detach() / power).mean())
        return residual, power

    def guesses(self, inputs: Float[Tensor, "b y x"]) -> PoseGuesses:
        """Poses that compete for every image."""
        return competing_poses(self.encoder, inputs, self.config.loss)

    def best(self, guesses: PoseGuesses, batch: Mapping[str, Any], count: int) -> Tensor:
        """Which pose of every image has the smallest residual; without gradients, which the others do not get."""
        ctf, values = batch["ctf"], batch["values"][:, :count]
        points = _POINTS_ON_GPU if values.is_cuda else self.volume.points_at_once
        at_once = max(1, points // (guesses.count * count))
        found = []
        with torch.no_grad():
            for rows in torch.arange(len(values), device=values.device).split(at_once):
                some = PoseGuesses(guesses.rotations[rows], guesses.shifts[rows])
                found.append(squared_residuals(self.predicted(some, ctf[rows], count), values[rows]).argmin(1))
        return torch.cat(found)

    def predicted(self, guesses: PoseGuesses, ctf: Float[Tensor, "b all"], count: int) -> Complex[Tensor, "b h k"]:
        """Images of the map: slice, CTF, shift (equation 8)."""
        phases = disc_phases(guesses.shifts.flatten(0, 1) * self.box, self.disc, count)
        slices = self.volume(guesses.rotations.flatten(0, 1), self.kxy[:count]) * phases
        return slices.unflatten(0, (-1, guesses.count)) * ctf[:, None, :count]

    def count_at(self, step: int) -> int:
        """Coefficients that are compared at a step of training: a growing radius, or all."""
        return self.disc.count(radius_at(step, self.box, self.config))

    def _note(self, step: int, explained: Tensor) -> None:
        self.explained[step // self.config.round_steps] += explained / self.config.round_steps
        self.steps_done.fill_(step + 1)


def radius_at(step: int, box: int, config: CryoAIConfig) -> float:
    """Radius, in Fourier pixels, within which images are compared at a step."""
    full = box / 2
    if config.march_from is None:
        return full
    first = min(config.march_from, full)
    return first + (full - first) * min(1.0, step / config.march_steps)


@dataclass(frozen=True)
class Training:
    """A task for :func:`vitreous.train.loop.fit`.

    Attributes
    ----------
    reader
        What is learned from.
    config
        Networks and optimisation.
    seed
        Of the order of the images.
    """

    reader: ImageReader
    config: CryoAIConfig = field(default_factory=CryoAIConfig)
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the particle set; those left over wait for the next epoch's order."""
        return steps_per_epoch(len(self.reader), self.config.batch)

    def module(self) -> Network:
        """Make the networks."""
        uses_units = self.config.whiten or self.config.volume == "voxels"
        amplitude = self.reader.amplitude if uses_units else None
        return Network(self.reader.box, self.reader.input_box, self.config, amplitude)

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make Adam; voxels have a rate of their own."""
        config, parameters = self.config, dict(module.named_parameters())
        voxels = [name for name in parameters if name.endswith("voxels")]
        groups: list[dict[str, Any]] = [{"params": [value for name, value in parameters.items() if name not in voxels]}]
        if voxels:
            groups.append({"params": [parameters[name] for name in voxels], "lr": config.voxel_learning_rate})
        return Adam(groups, lr=config.learning_rate)

    def scheduler(self, optimizer: Optimizer) -> LRScheduler | None:
        """Keep the rates constant."""
        del optimizer
        return None

    def batches(self, first_step: int, rank: Rank) -> Iterator[dict[str, Any]]:
        """Yield this process's images of every step; the order of an epoch depends on seed and epoch alone."""
        for step, rows in shuffled_batches(len(self.reader), self.config.batch, self.seed, first_step, rank):
            yield {**vars(self.reader.views(rows)), "step": step}

    def training_step(self, module: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the loss, the mean over images of the best pose's residual per coefficient, and what is explained."""
        residual, power = module(batch)
        return {"loss": residual.mean(), "explained": 1 - (residual.detach() / power).mean()}


def has_converged(explained: Float[Tensor, " rounds"], box: int, config: CryoAIConfig) -> bool:
    """Whether the last rounds explained no more than those before, all frequencies being compared.

    Parameters
    ----------
    explained
        Share of explained power of every round that is over.
    box
        The decoder's.
    config
        Patience and tolerance.
    """
    marching = [radius_at((number + 1) * config.round_steps, box, config) < box / 2 for number in range(len(explained))]
    settled = explained[sum(marching) :]
    before, last = settled[: -config.patience], settled[-config.patience :]
    return len(before) > 0 and float(last.max()) <= (1 + config.tolerance) * max(float(before.max()), 0.0)
