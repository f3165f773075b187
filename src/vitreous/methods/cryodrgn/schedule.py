"""Learning rates that fall at the end, or where the loss no longer does; and groups that are held from some step on."""

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitreous.compute.annealing import Annealing

HELD_FROM = "held_from"
"""Key of a parameter group: the step from which its rate is 0."""

_FACTOR, _THRESHOLD = 0.5, 1e-4


class Schedule(LRScheduler):
    """Halve all rates after ``patience + 1`` epochs in a row without a lower mean loss, and begin to count anew.

    The rule is that of ``ReduceLROnPlateau`` (factor 0.5, relative threshold 1e-4), asked once per epoch. Groups with
    :data:`HELD_FROM` have rate 0 from that step on, so that Adam's moments do not move them either.

    Parameters
    ----------
    optimizer
        Its groups' rates are scaled.
    steps_per_epoch
        Steps over which losses are averaged.
    patience
        See above; 0 never halves.
    wait
        Epochs that are not counted, because the loss is still another one.
    annealing
        A factor beside that.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps_per_epoch: int,
        patience: int,
        wait: float = 0.0,
        *,
        annealing: Annealing | None = None,
    ) -> None:
        self.steps_per_epoch, self.patience, self.wait = steps_per_epoch, patience, wait
        self._annealing = annealing or Annealing()
        self.share, self.idle = 1.0, 0
        self.best: float | None = None
        self.total: float | Tensor = 0.0
        super().__init__(optimizer)

    def observe(self, loss: Tensor) -> None:
        """Take note of a step's loss, before :meth:`step`."""
        self.total = self.total + loss.detach().double()
        epoch, rest = divmod(self.last_epoch + 1, self.steps_per_epoch)
        if rest == 0:
            mean, self.total = float(self.total) / self.steps_per_epoch, 0.0
            if self.patience and epoch > self.wait:
                self._judge(mean)

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the next step."""
        held = [self.last_epoch >= group.get(HELD_FROM, math.inf) for group in self.optimizer.param_groups]
        share = self.share * self._annealing.factor(self.last_epoch)
        return [0.0 if is_held else float(rate) * share for rate, is_held in zip(self.base_lrs, held)]

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as plain values."""
        state = super().state_dict() | {"total": float(self.total)}
        del state["_annealing"]
        return state

    def _judge(self, mean: float) -> None:
        if self.best is None or mean < self.best * (1 - _THRESHOLD):
            self.best, self.idle = mean, 0
            return
        self.idle += 1
        if self.idle > self.patience:
            self.share, self.idle = self.share * _FACTOR, 0
