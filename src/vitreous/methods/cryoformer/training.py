"""Training of the networks as a task for the training loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vitreous.compute.annealing import Annealing
from vitreous.compute.epochs import shuffled_batches, steps_per_epoch
from vitreous.compute.processes import Rank
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.model import Network
from vitreous.nn.pose_corrections import PoseCorrections, PoseEncoder, PoseTable
from vitreous.nn.posterior import Posterior
from vitreous.reconstruct.fourier_images import FourierImages, half_disc, mean_squared_residual

_GRID, _CORRECTIONS = "table", "corrections."
_GRID_EPSILON = 1e-15
"""Adam's, for entries whose gradients are small because few points fall beside them (Müller et al. 2022, section 4)."""


class Outcome(NamedTuple):
    """What a batch came to.

    Attributes
    ----------
    mean, log_variance
        Posterior of the latents, ``[b, dims]``.
    projections
        What was rendered at a sample of it, before the CTF, ``[b, k]``.
    values
        What it is to match, ``[b, k]`` with at least as many coefficients.
    """

    mean: Tensor
    log_variance: Tensor
    projections: Tensor
    values: Tensor


class PosedNetwork(nn.Module):
    """The networks with the corrections of the poses, so that a distributed wrapper sees all parameters."""

    def __init__(self, network: Network, corrections: PoseCorrections | None) -> None:
        super().__init__()
        self.network, self.corrections = network, corrections
        self.disc = half_disc(network.box)

    def forward(self, batch: Mapping[str, Tensor], box: int, *, moves_poses: bool) -> Outcome:
        """Encode a batch, and render it at ``box`` pixels."""
        values, rotations = batch["values"], batch["rotations"]
        if self.corrections is not None:
            values, rotations = self.corrections.moved(batch, self.disc, moves=moves_poses)
        mean, log_variance, projections = self.network(values, batch["ctf"], rotations, box)
        return Outcome(mean, log_variance, projections, values)


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

    def module(self) -> PosedNetwork:
        """Make the networks."""
        network = Network(self.images.particles.box, self.dims, self.config, self.images.scale, maps=self.maps)
        return PosedNetwork(network, self._corrections())

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make Adam; the hash grid and the poses have rates of their own."""
        config, parameters = self.config, list(module.named_parameters())
        grid = {name for name, _ in parameters if name.endswith(_GRID)}
        poses = {name for name, _ in parameters if name.startswith(_CORRECTIONS)}
        rest = {name for name, _ in parameters} - grid - poses
        groups: list[dict[str, Any]] = [
            {"params": [value for name, value in parameters if name in names], **settings}
            for names, settings in (
                (rest, {"lr": config.learning_rate}),
                (grid, {"lr": config.grid_learning_rate, "eps": _GRID_EPSILON}),
                (poses, {"lr": config.pose_learning_rate}),
            )
            if names
        ]
        return Adam(groups)

    def scheduler(self, optimizer: Optimizer) -> LambdaLR:
        """Let the rates fall to 0 as a cosine does from 0 to half a turn."""
        falling = Annealing.at_end_of(self._steps, 1.0)
        # a plain function: of a method, the scheduler's state would hold attributes
        return LambdaLR(optimizer, lambda step: falling.factor(step))

    def batches(self, first_step: int, rank: Rank) -> Iterator[dict[str, Any]]:
        """Yield this process's images of every step; the order of an epoch depends on seed and epoch alone."""
        config = self.config
        for step, rows in shuffled_batches(len(self.images), config.batch, config.seed, first_step, rank):
            yield {**vars(self.images.views(rows)), "rows": rows, "step": step}

    def training_step(self, module: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the loss: mean squared residual per coefficient (equation 5), and the divergence of the latents."""
        done = batch["step"] / self._steps
        box = self.config.box_at(done, self.images.particles.box)
        found = module(batch, box, moves_poses=done >= self.config.pose_wait)
        count = found.projections.shape[1]
        residual = mean_squared_residual(found.projections * batch["ctf"][:, :count], found.values[:, :count])
        divergence = Posterior(found.mean, found.log_variance).divergence().mean()
        loss = residual + self.config.beta_at(done, self.dims) * divergence / (2 * count)
        return {"loss": loss, "residual": residual, "divergence": divergence, "box": loss.new_tensor(float(box))}

    def _corrections(self) -> PoseCorrections | None:
        config = self.config
        if config.poses == "descent":
            return PoseTable(len(self.images))
        if config.poses == "encoder":
            return PoseEncoder(len(self.images.disc.kx), width=config.encoder_width, layers=config.encoder_layers)
        return None

    @property
    def _steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch
