"""Training of the networks as a task for the training loop."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vitreous.compute.epochs import shuffled_batches, steps_per_epoch
from vitreous.compute.processes import Rank
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.model import Network
from vitreous.nn.posterior import Posterior
from vitreous.reconstruct.fourier_images import FourierImages, mean_squared_residual

_GRID = "table"
_GRID_EPSILON = 1e-15
"""Adam's, for entries whose gradients are small because few points fall beside them (Müller et al. 2022, section 4)."""


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
        Networks, rendering and optimisation.
    maps
        Principal maps of an encoder that looks for them.
    """

    images: FourierImages
    dims: int
    config: CryoFormerConfig = field(default_factory=CryoFormerConfig)
    maps: Tensor | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the particle set; those left over wait for the next epoch's order."""
        return steps_per_epoch(len(self.images), self.config.batch)

    def module(self) -> Network:
        """Make the networks."""
        return Network(self.images.particles.box, self.dims, self.config, self.images.scale, maps=self.maps)

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make Adam; the hash grid has a rate of its own."""
        config, parameters = self.config, dict(module.named_parameters())
        grid = [name for name in parameters if name.endswith(_GRID)]
        groups: list[dict[str, Any]] = [{"params": [value for name, value in parameters.items() if name not in grid]}]
        if grid:
            of_grid = {"lr": config.grid_learning_rate, "eps": _GRID_EPSILON}
            groups.append({"params": [parameters[name] for name in grid], **of_grid})
        return Adam(groups, lr=config.learning_rate)

    def scheduler(self, optimizer: Optimizer) -> LambdaLR:
        """Let the rates fall to 0 as a cosine does from 0 to half a turn."""
        return LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * min(1.0, step / self._steps))) / 2)

    def batches(self, first_step: int, rank: Rank) -> Iterator[dict[str, Any]]:
        """Yield this process's images of every step; the order of an epoch depends on seed and epoch alone."""
        config = self.config
        for step, rows in shuffled_batches(len(self.images), config.batch, config.seed, first_step, rank):
            yield {**vars(self.images.views(rows)), "step": step}

    def training_step(self, module: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the loss: mean squared residual per coefficient (equation 5), and the divergence of the latents."""
        done = batch["step"] / self._steps
        box = self.config.box_at(done, self.images.particles.box)
        mean, log_variance, projections = module(batch["values"], batch["ctf"], batch["rotations"], box)
        count = projections.shape[1]
        residual = mean_squared_residual(projections * batch["ctf"][:, :count], batch["values"][:, :count])
        divergence = Posterior(mean, log_variance).divergence().mean()
        loss = residual + self.config.beta_at(done, self.dims) * divergence / (2 * count)
        return {"loss": loss, "residual": residual, "divergence": divergence, "box": loss.new_tensor(float(box))}

    @property
    def _steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch
