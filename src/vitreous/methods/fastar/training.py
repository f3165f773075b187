"""Pre-training of the pose network as a task for the training loop."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vitreous.compute.processes import Rank
from vitreous.errors import ConfigError
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.curriculum import CURRICULUM, Moment, Stage, moment
from vitreous.methods.fastar.loss import LossConfig, pose_loss
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.scenes import Blobs, CorpusScenes, Mixed, SceneSource
from vitreous.methods.fastar.simulator import ViewConfig, simulate_views
from vitreous.methods.fastar.views import Truth, Views


@dataclass(frozen=True)
class StepConfig:
    """Settings of the optimisation."""

    batch_views: int = 64
    """Views per optimisation step, over all processes."""

    chunks: int = 2
    """Parts of a batch with random numbers of their own; processes share them out, so at most as many processes."""

    unheard: float = 0.125
    """Share of the views that are placed without being heard by the reference, as most are at inference."""

    learning_rate: float = 1e-3
    """Largest learning rate."""

    warm_up: int = 200
    """Steps over which the learning rate rises."""

    decay: int = 20_000
    """Steps after which the rate has fallen to 0.7 of the largest: it goes with ``1 / √(1 + step / decay)``."""

    weight_decay: float = 0.01
    """Decoupled weight decay."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, low in (("batch_views", 1), ("chunks", 1), ("warm_up", 0), ("decay", 1)):
            if getattr(self, name) < low:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} must be at least {low}", found=getattr(self, name), remedy=f"Change {flag}")
        if not 0 <= self.unheard < 1:
            raise ConfigError("--unheard must be a share below 1", found=self.unheard, remedy="Change --unheard")


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that pre-training depends on but the structures.

    Attributes
    ----------
    model, loss, step
        The network, its loss, its optimisation.
    views
        What of the simulation the curriculum does not set.
    curriculum
        What is simulated when.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    step: StepConfig = field(default_factory=StepConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    curriculum: tuple[Stage, ...] = CURRICULUM


@runtime_checkable
class StackViews(Protocol):
    """Sets of views with poses cut from particle stacks."""

    def draw(self, n: int, views: int, generator: torch.Generator) -> tuple[Views, Truth]:
        """Draw ``n`` sets."""
        ...


class _NetworkWithLoss(nn.Module):
    """The network followed by its loss, so that a distributed wrapper sees tensors in and scalars out."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.network = PoseNetwork(config.model)
        self.loss, self.unheard = config.loss, config.step.unheard

    def forward(self, images: Tensor, ctf_size: Tensor, treatment: Tensor, poses: tuple[Tensor, Tensor]) -> Any:
        views = Views(images, ctf_size, treatment)
        n = images.shape[1]
        predictions = self.network(views, n - 1 - int(self.unheard * n))
        with torch.autocast(images.device.type, enabled=False):
            return pose_loss(predictions, Truth(*poses), self.network.coordinates, self.loss)


@dataclass(frozen=True)
class Pretraining:
    """A task for :func:`vitreous.train.loop.fit`; views are simulated on the device that trains.

    Attributes
    ----------
    config
        All settings.
    corpus
        Structures beside random blobs; None trains on blobs alone.
    stacks
        Particle stacks with poses for the stages that ask for them.
    seed
        Of all simulated views.
    batch_sizes
        ``(first step, views per step)`` of all legs so far, where these differ: the curriculum counts views. Empty
        where all steps have those of ``config``.
    """

    config: PretrainConfig
    corpus: CorpusScenes | None = None
    stacks: StackViews | None = None
    seed: int = 0
    batch_sizes: tuple[tuple[int, int], ...] = ()

    def module(self) -> nn.Module:
        """Make the network with its loss."""
        return _NetworkWithLoss(self.config)

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make AdamW; vectors (biases, norms, embeddings of roles) do not decay."""
        step = self.config.step
        matrices = [p for p in module.parameters() if p.ndim >= 2]
        vectors = [p for p in module.parameters() if p.ndim < 2]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        return AdamW(groups, step.learning_rate, betas=(0.9, 0.98), weight_decay=step.weight_decay)

    def scheduler(self, optimizer: Optimizer) -> LambdaLR:
        """Make the schedule: warm-up, inverse square root, times the curriculum's relative rate."""
        # a plain function: of a method, the scheduler's state would hold attributes
        return LambdaLR(optimizer, lambda step: self._rate(step))

    def batches(self, first_step: int, rank: Rank) -> Iterator[list[tuple[int, int]]]:
        """Yield the step with the number of each chunk that this process simulates.

        These are plain numbers: read back from a GPU they would make it wait.
        """
        mine = list(range(rank.number, self.config.step.chunks, rank.of))
        step = first_step
        while True:
            yield [(step, chunk) for chunk in mine]
            step += 1

    def training_step(self, module: nn.Module, batch: Sequence[tuple[int, int]]) -> Mapping[str, Tensor]:
        """Simulate this process's chunks where the network is, and return the loss."""
        views, truth = self.simulate(batch, next(module.parameters()).device)
        losses = module(views.images, views.ctf_size, views.treatment, (truth.rotations, truth.shifts))
        return {**losses, "snr": losses["loss"].new_full((), self.moment(batch[0][0]).stage.snr[0])}

    def simulate(self, batch: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> tuple[Views, Truth]:
        """Simulate chunks of one step; each depends on the seed, the step and its number alone."""
        parts = [self._chunk(step, chunk, torch.device(device)) for step, chunk in batch]
        views = Views(*(torch.cat([getattr(v, n) for v, _ in parts]) for n in ("images", "ctf_size", "treatment")))
        return views, Truth(*(torch.cat([getattr(t, n) for _, t in parts]) for n in ("rotations", "shifts")))

    def moment(self, step: int) -> Moment:
        """Return the curriculum's values at a step."""
        return _moment(self.config.curriculum, self.views_seen(step) // 1000 * 1000, self.config.views)

    def views_seen(self, step: int) -> int:
        """Views of all steps before this one."""
        sizes = self.batch_sizes or ((0, self.config.step.batch_views),)
        edges = [first for first, _ in sizes[1:]]
        spans = pairwise([0, *(min(edge, step) for edge in edges), step])
        return sum(views * (end - start) for (_, views), (start, end) in zip(sizes, spans, strict=True))

    def sets(self, step: int) -> int:
        """Sets of views per chunk: as many as fill the batch on average, at least one."""
        config = self.config.step
        filling = config.batch_views / (self.moment(step).stage.views * config.chunks)
        dice = torch.rand((), generator=torch.Generator().manual_seed(self._seed(step, config.chunks)))
        return max(1, int(filling + float(dice)))

    def _seed(self, step: int, chunk: int) -> int:
        return ((self.seed * 1_000_003 + step) * 1009 + chunk) % (1 << 62)

    def _chunk(self, step: int, chunk: int, device: torch.device) -> tuple[Views, Truth]:
        seed = self._seed(step, chunk)
        generator = torch.Generator(device).manual_seed(seed)
        now, config, sets = self.moment(step), self.config, self.sets(step)
        dice = torch.rand(2, generator=torch.Generator().manual_seed(seed ^ _OWN_STREAM)).tolist()
        if self.stacks is not None and dice[0] < now.stage.stacks:
            return self.stacks.draw(sets, now.stage.views, generator)
        view_config = replace(now.view_config, ctf=dice[1] < now.stage.ctf)
        scenes = self._source(now.stage, device).draw(sets, view_config.beads, generator)
        return simulate_views(scenes, view_config, config.model.box, generator)

    def _source(self, stage: Stage, device: torch.device) -> SceneSource:
        if self.corpus is None:
            return Blobs()
        return Mixed(self.corpus.on(device, stage.composite), Blobs(), stage.corpus)

    def _rate(self, step: int) -> float:
        config = self.config.step
        ramp = min(1.0, (step + 1) / max(1, config.warm_up))
        return ramp * (1 + step / config.decay) ** -0.5 * self.moment(step).stage.rate


_OWN_STREAM = 0x5DEECE66D
"""Keeps what is drawn for a whole chunk apart from what is drawn within it, which starts from the same seed."""


@lru_cache(maxsize=4)
def _moment(curriculum: tuple[Stage, ...], views_seen: int, base: ViewConfig) -> Moment:
    return moment(curriculum, views_seen, base)
