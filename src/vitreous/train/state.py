"""The complete state of training as named tensors and plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitreous.errors import ConfigError
from vitreous.runs.compact import RESTARTED

_MODULE, _OPTIMIZER, _AVERAGE = "module.", "optimizer.", "average."


@dataclass
class TrainState:
    """Everything that changes during training.

    Attributes
    ----------
    module, optimizer, scheduler
        As the loop uses them.
    average
        Running average of the parameters by name, or None.
    scaler
        Loss scaler of ``16-mixed``, with ``state_dict`` and ``load_state_dict``, or None.
    step
        Steps done.
    restarted_at
        Step at which the optimiser last started anew, its moments left out of an export (:mod:`vitreous.runs.compact`).
    """

    module: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    average: dict[str, Tensor] | None
    scaler: Any = None
    step: int = 0
    restarted_at: int | None = None

    def ramp(self, restart_steps: int) -> float:
        """Factor on the learning rate of the next step: rises to 1 over so many steps after a restart.

        Adam's first steps are the full learning rate in every parameter, however small the gradient.
        """
        if self.restarted_at is None:
            return 1.0
        return min(1.0, (self.step - self.restarted_at + 1) / (restart_steps + 1))

    def update_average(self, decay: float) -> None:
        """Move the running average towards the parameters."""
        if self.average is None:
            return
        now = self.module.state_dict()
        real = [name for name, value in now.items() if value.is_floating_point()]
        # all at once: on a GPU a launch for each of some hundred small tensors takes longer than the arithmetic
        torch._foreach_lerp_([self.average[name] for name in real], [now[name] for name in real], 1 - decay)
        for name in now.keys() - set(real):
            self.average[name].copy_(now[name])

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state as named tensors and values that JSON can hold."""
        tensors = {f"{_MODULE}{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"{_AVERAGE}{name}": value for name, value in (self.average or {}).items()}
        described = self.optimizer.state_dict()
        numbers: dict[str, dict[str, Any]] = {}
        for index, entries in described["state"].items():
            numbers[str(index)] = {name: value for name, value in entries.items() if not torch.is_tensor(value)}
            tensors |= {f"{_OPTIMIZER}{index}.{k}": v for k, v in entries.items() if torch.is_tensor(v)}
        values = {
            "step": self.step,
            "optimizer": {"state": numbers, "param_groups": described["param_groups"]},
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }
        return tensors, values if self.restarted_at is None else values | {RESTARTED: self.restarted_at}

    def unpack(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Take over a state that :meth:`pack` returned.

        Options of optimiser and schedule (rate, weight decay, betas) stay those that they were made with. The average
        starts at the parameters where the state has none.
        """
        self.module.load_state_dict(_below(tensors, _MODULE))
        if self.average is not None:
            for name, value in (_below(tensors, _AVERAGE) or _below(tensors, _MODULE)).items():
                self.average[name].copy_(value)
        state = {int(index): dict(entries) for index, entries in values["optimizer"]["state"].items()}
        for name, value in _below(tensors, _OPTIMIZER).items():
            index, _, entry = name.partition(".")
            state[int(index)][entry] = value
        groups = zip(values["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True)
        now = [_with_options(saved, made, scheduled=self.scheduler is not None) for saved, made in groups]
        self.optimizer.load_state_dict({"state": state, "param_groups": now})
        if self.scheduler is not None:
            if values["scheduler"] is None:
                raise ConfigError(
                    "the checkpoint is of a training whose rates had no schedule", remedy="Begin anew with --overwrite"
                )
            self.scheduler.load_state_dict(values["scheduler"] | {"base_lrs": self.scheduler.base_lrs})
        if self.scaler is not None and values["scaler"] is not None:
            self.scaler.load_state_dict(values["scaler"])
        self.step = values["step"]
        self.restarted_at = values.get(RESTARTED)


def _with_options(saved: Mapping[str, Any], made: Mapping[str, Any], *, scheduled: bool) -> dict[str, Any]:
    """Return the saved group with the options of a new one; a schedule has brought the rate to some share of its start.

    Schedules are proportional to the rate that they start from.
    """
    options = {name: value for name, value in made.items() if name != "params"}
    if scheduled and saved.get("initial_lr"):
        options["lr"] = saved["lr"] * (made["initial_lr"] / saved["initial_lr"])
    return {**saved, **options}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
