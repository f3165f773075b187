"""One training loop for every method, on Lightning Fabric: one device or several, any precision, exact resume."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import load, save
from torch import Tensor

from vitreous.errors import ConvergenceError
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.state import TrainState
from vitreous.train.task import Callbacks, Rank, Task, Trained


def fit(
    task: Task, config: TrainConfig, hardware: Hardware | None = None, callbacks: Callbacks | None = None
) -> Trained:
    """Train, from the last checkpoint where ``callbacks.store`` holds one.

    A run that is stopped and resumed ends with the same bits as one that was not, on the same devices with the same
    number of threads: random numbers are seeded anew from ``config.seed`` and the step, and batches depend on the
    step alone.

    Raises
    ------
    ConvergenceError
        When the loss is no longer finite.
    """
    hardware = hardware or Hardware()
    fabric = Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        precision=hardware.precision,
        strategy="ddp_spawn" if hardware.devices > 1 else "auto",
    )
    train = partial(_train, task=task, config=config, callbacks=callbacks or Callbacks())
    parameters, averaged, step, stopped = fabric.launch(train)
    return Trained(load(parameters), None if averaged is None else load(averaged), step, stopped)


def _train(fabric: Fabric, task: Task, config: TrainConfig, callbacks: Callbacks) -> tuple[Any, ...]:
    """Return the fields of :class:`Trained`, tensors as bytes: shared memory ends with the process that made it."""
    started = time.monotonic()
    state = _start(fabric, task, config, callbacks)
    rank = Rank(fabric.global_rank, fabric.world_size)
    batches = task.batches(state.step, rank)
    totals, count, saved = dict[str, Tensor](), 0, started
    stopped = "steps"
    with callbacks.progress.stage("Training", config.steps):
        callbacks.progress.advance(state.step)
        while state.step < config.steps:
            losses = _step(fabric, task, state, next(batches), config)
            totals = {name: totals.get(name, torch.zeros_like(value)) + value for name, value in losses.items()}
            count += 1
            callbacks.progress.advance()
            if state.step % config.log_every == 0 or state.step == config.steps:
                _log(fabric, state, callbacks, {name: value / count for name, value in totals.items()})
                totals, count = {}, 0
            now = _shared_clock(fabric)
            if now - saved > 60 * config.checkpoint_minutes:
                _save(fabric, state, callbacks)
                saved = now
            if config.minutes is not None and now - started > 60 * config.minutes:
                stopped = "minutes"
                break
    _save(fabric, state, callbacks)
    average = None if state.average is None else _as_bytes(state.average)
    return _as_bytes(state.module.state_dict()), average, state.step, stopped


def _as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()})


def _start(fabric: Fabric, task: Task, config: TrainConfig, callbacks: Callbacks) -> TrainState:
    torch.manual_seed(config.seed)
    module = task.module()
    optimizer = task.optimizer(module)
    module, optimizer = fabric.setup(module, optimizer)
    average = None
    if config.ema_decay is not None:
        average = {name: value.detach().clone() for name, value in module.state_dict().items()}
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    state = TrainState(module, optimizer, task.scheduler(optimizer), average, scaler)
    found = None if callbacks.store is None else callbacks.store.load()
    if found is not None:
        state.unpack(*found)
    return state


def _step(fabric: Fabric, task: Task, state: TrainState, batch: object, config: TrainConfig) -> Mapping[str, Tensor]:
    # Seeding every step makes dropout and the like a function of (seed, step, rank): no generator state to save.
    torch.manual_seed(((config.seed * 1_000_003 + state.step) * 1009 + fabric.global_rank) % (1 << 63))
    losses = task.training_step(state.module, fabric.to_device(batch))
    fabric.backward(losses["loss"])
    if config.gradient_clip is not None:
        fabric.clip_gradients(state.module, state.optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False)
    state.optimizer.step()
    state.optimizer.zero_grad()
    if state.scheduler is not None:
        state.scheduler.step()
    state.step += 1
    if config.ema_decay is not None:
        state.update_average(config.ema_decay)
    return {name: value.detach() for name, value in losses.items()}


def _log(fabric: Fabric, state: TrainState, callbacks: Callbacks, means: Mapping[str, Tensor]) -> None:
    numbers = {name: float(torch.as_tensor(fabric.all_reduce(v, reduce_op="mean"))) for name, v in means.items()}
    if not torch.isfinite(torch.tensor(numbers["loss"])):
        raise ConvergenceError(
            f"the loss became {numbers['loss']} by step {state.step}",
            remedy="Lower the learning rate, or compute with --precision 32-true",
        )
    if fabric.is_global_zero:
        rate = state.optimizer.param_groups[0]["lr"]
        callbacks.log({"step": state.step, **numbers, "learning_rate": float(rate)})


def _shared_clock(fabric: Fabric) -> float:
    """Return the first process's clock, so that all processes decide alike."""
    return float(fabric.broadcast(time.monotonic()))


def _save(fabric: Fabric, state: TrainState, callbacks: Callbacks) -> None:
    if callbacks.store is not None and fabric.is_global_zero:
        callbacks.store.save(*state.pack())
    fabric.barrier()
