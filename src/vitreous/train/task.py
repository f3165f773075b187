"""What the training loop asks of a method, and what it tells its caller."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitreous.compute.processes import Rank
from vitreous.compute.progress import Progress, SilentProgress


@runtime_checkable
class Task(Protocol):
    """A model and the batches that it learns from. It must be picklable to train in several processes."""

    def module(self) -> nn.Module:
        """Make the model; random numbers are seeded before the call."""
        ...

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make the optimizer of the model's parameters."""
        ...

    def scheduler(self, optimizer: Optimizer) -> LRScheduler | None:
        """Make the schedule of the learning rate, advanced once per step, or None."""
        ...

    def batches(self, first_step: int, rank: Rank) -> Iterator[Any]:
        """Yield this process's share of the batch of every step from ``first_step`` on, the same on every call.

        A batch is a tensor, or tuples, lists and mappings of tensors; the loop moves these to the device and leaves
        everything else in a batch as it is.
        """
        ...

    def training_step(self, module: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """Return scalars by name; ``loss`` is minimised. The model must be used by calling ``module(…)``."""
        ...


@runtime_checkable
class ObservesLoss(Protocol):
    """A schedule that depends on the loss."""

    def observe(self, loss: Tensor) -> None:
        """Take note of a step's loss, the mean over all processes, before the schedule is advanced."""
        ...


@runtime_checkable
class StateStore(Protocol):
    """Keeps the last state of a run; :class:`vitreous.runs.checkpoint.Checkpointer` is one."""

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the state."""
        ...

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the state, or None where there is none."""
        ...


def _ignore(numbers: Mapping[str, float | int | str | None]) -> None:
    pass


@dataclass(frozen=True)
class Callbacks:
    """What the loop calls in its first process only; picklable to train in several processes.

    Attributes
    ----------
    log
        Receives ``{"step": …, "loss": …, "learning_rate": …, "steps_per_second": …}``: means since the last call.
    store
        Where checkpoints go and the start comes from; None keeps none.
    progress
        Shows how far the loop is.
    """

    log: Callable[[Mapping[str, float | int | str | None]], None] = _ignore
    store: StateStore | None = None
    progress: Progress = field(default_factory=SilentProgress)


@dataclass(frozen=True)
class Trained:
    """The end of training.

    Attributes
    ----------
    parameters, averaged
        The model's ``state_dict`` on the CPU, and the running average of it (None without ``ema_decay``).
    step
        Steps done.
    stopped
        ``"steps"``, ``"minutes"`` or ``"signal"`` (SIGINT or SIGTERM).
    first_step
        Steps that were done before.
    """

    parameters: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor] | None
    step: int
    stopped: str
    first_step: int = 0
