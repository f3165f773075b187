"""CryoNOO: an encoder whose latents do not depend on the noise, as a task for the training loop.

What the decoder makes of an image is seen again through new noise, and the encoder is to find the same latent there.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vitreous.compute.processes import Rank
from vitreous.geometry.rotations import rotation_from_quaternion
from vitreous.methods.cryodrgn.agreement import Agreement
from vitreous.methods.cryodrgn.model import Autoencoder
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.cryodrgn.schedule import Schedule
from vitreous.methods.cryodrgn.training import ANNEAL, Network, Outcome, Training, adam
from vitreous.methods.cryodrgn.views import ImagePlane, noise_sigma
from vitreous.reconstruct.fourier_images import FourierImages, mean_squared_residual

_PATIENCE = 3


class Distiller(nn.Module):
    """Views of the images of a batch, and the loss of their latents.

    Parameters
    ----------
    images
        Where batches come from.
    dims
        Size of the latents.
    config
        Which views and which loss.
    """

    window: Tensor

    def __init__(self, images: FourierImages, dims: int, config: CryoNooConfig) -> None:
        super().__init__()
        self.config, self.disc = config, images.disc
        self.register_buffer("window", images.window, persistent=False)
        self.agreement = Agreement(dims, config)
        by_shells = config.level == "shells"
        self.sigma = noise_sigma(images.sample(), config.shells_from) / images.scale if by_shells else None

    def forward(self, autoencoder: Autoencoder, batch: Mapping[str, Tensor], outcome: Outcome) -> tuple[Tensor, Tensor]:
        """Return the loss, summed over views, and the noise level."""
        level = self.level(batch, outcome)
        views, ctf = self.views(autoencoder, batch, outcome, level)
        count = len(views)
        rotations = batch["rotations"].repeat(count, 1, 1)
        means = autoencoder.encode(torch.cat(views), ctf.repeat(count, 1), rotations).mean
        losses = [self.agreement(outcome.z, mean) for mean in means.chunk(count)]
        return torch.stack(losses).sum(), level

    def level(self, batch: Mapping[str, Tensor], outcome: Outcome) -> Tensor:
        """Noise level: fixed, or half of that at which views are as far from what is rendered as the images are."""
        if self.sigma is not None:
            return self.window.new_tensor(self.sigma)
        residual = mean_squared_residual(outcome.slices.detach() * batch["ctf"], outcome.values)
        return ImagePlane(self.disc, self.window).sigma_of(residual) / 2

    def views(
        self, autoencoder: Autoencoder, batch: Mapping[str, Tensor], outcome: Outcome, level: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Return the coefficients of every view, and their CTF."""
        plane, shifts_px, ctf = ImagePlane(self.disc, self.window), batch["shifts_px"], batch["ctf"]
        if self.config.views == "turned":  # the phases are flipped first: the CTF would have to turn as well
            flipped = outcome.values * ctf.sign()
            return [plane.turned(flipped) for _ in self.config.factors], torch.ones_like(ctf)
        found = []
        for factor in self.config.factors:
            is_rendered = self.config.views == "rendered"
            start = self.rendered(autoencoder, outcome) * ctf if is_rendered else outcome.values
            found.append(plane.with_noise(start, shifts_px, factor * level))
        return found, ctf

    def rendered(self, autoencoder: Autoencoder, outcome: Outcome) -> Tensor:
        """Return slices of the maps of a batch: those that were decoded, or others in random poses."""
        flows = self.config.gradient_through_views
        if self.config.poses == "own":
            return outcome.slices if flows else outcome.slices.detach()
        with torch.set_grad_enabled(flows):
            rotations = rotation_from_quaternion(torch.randn(len(outcome.z), 4, device=outcome.z.device))
            return autoencoder.decode(rotations, outcome.z)


class DistillingNetwork(nn.Module):
    """Autoencoder and distiller in one module, so that a distributed wrapper sees all parameters."""

    def __init__(self, network: Network, distiller: Distiller) -> None:
        super().__init__()
        self.network, self.distiller = network, distiller

    def forward(
        self, batch: Mapping[str, Tensor], *, moves_poses: bool, distils: bool
    ) -> tuple[Outcome, Tensor, Tensor]:
        """Return what the autoencoder made of a batch, the loss of its views, and their noise level."""
        outcome = self.network(batch, moves_poses=moves_poses)
        if distils:
            return outcome, *self.distiller(self.network.autoencoder, batch, outcome)
        nothing = outcome.mean.new_zeros(())  # every parameter takes part in every step, as the wrapper expects
        return outcome, sum((0.0 * p.sum() for p in self.distiller.parameters()), nothing), nothing


@dataclass(frozen=True)
class DistillingTraining:
    """A task for :func:`vitreous.train.loop.fit`.

    Attributes
    ----------
    base
        Training of the autoencoder, which goes on throughout.
    noo
        What is added after the warm-up.
    """

    base: Training
    noo: CryoNooConfig = field(default_factory=CryoNooConfig)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the particle set."""
        return self.base.steps_per_epoch

    def module(self) -> nn.Module:
        """Make the networks."""
        return DistillingNetwork(self.base.module(), Distiller(self.base.images, self.base.dims, self.noo))

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make Adam; the decoder may be held after the warm-up."""
        first = math.ceil(self.noo.warmup * self.steps_per_epoch)
        return adam(module, self.base.config, freeze_decoder_from=first if self.noo.freeze_decoder else None)

    def scheduler(self, optimizer: Optimizer) -> Schedule:
        """Let the rates fall at the end, and halve them where the loss no longer falls, once it has all its terms."""
        config = self.base.config
        patience = _PATIENCE if config.patience is None else config.patience
        wait = max(self.noo.warmup, config.beta_ramp)
        return self.base.schedule(optimizer, patience, wait, anneal=ANNEAL)

    def batches(self, first_step: int, rank: Rank) -> Iterator[dict[str, Any]]:
        """Yield this process's images of every step."""
        return self.base.batches(first_step, rank)

    def training_step(self, module: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the loss of the autoencoder and, after the warm-up, that of its views (CryoNOO eq. 5)."""
        epoch = self.base.epoch(batch)
        moves_poses = epoch >= self.base.config.pose_wait
        outcome, of_views, level = module(batch, moves_poses=moves_poses, distils=epoch >= self.noo.warmup)
        losses = self.base.losses(outcome, batch)
        losses["loss"] = losses["loss"] + self.noo.weight * of_views
        return {**losses, "views": of_views, "view_noise": level}
