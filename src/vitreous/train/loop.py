"""One training loop for every method, on Lightning Fabric: one device or several, any precision, exact resume."""

import logging
import math
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import load, save
from torch import Tensor

from vitreous.compute.processes import Rank
from vitreous.errors import ConvergenceError
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.interruption import StopRequest
from vitreous.train.leg import Leg, Means
from vitreous.train.state import TrainState
from vitreous.train.task import Callbacks, ObservesLoss, Task, Trained


def fit(
    task: Task, config: TrainConfig, hardware: Hardware | None = None, callbacks: Callbacks | None = None
) -> Trained:
    """Train, from the last checkpoint where ``callbacks.store`` holds one.

    A run that is stopped and resumed ends with the same bits as one that was not, on the same devices with the same
    number of threads: random numbers are seeded anew from ``config.seed`` and the step, and batches depend on the
    step alone. The first SIGINT or SIGTERM ends training after the step under way, with a checkpoint, and
    ``stopped`` tells.

    Raises
    ------
    ConvergenceError
        When the loss is no longer finite.
    """
    hardware = hardware or Hardware()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it repeats the options that it is given
    fabric = Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.which,
        precision=hardware.precision,
        strategy="ddp_spawn" if hardware.devices > 1 else "auto",
    )
    threads = max(1, torch.get_num_threads() // hardware.devices)
    with tempfile.TemporaryDirectory(prefix="vitreous-") as folder:
        train = partial(_train, task=task, config=config, callbacks=callbacks or Callbacks())
        rest = fabric.launch(train, threads, Path(folder))
        parameters, average = (Path(folder) / name for name in (_PARAMETERS, _AVERAGE))
        return Trained(_read(parameters), _read(average) if average.exists() else None, *rest)


_PARAMETERS, _AVERAGE = "parameters", "average"


def _train(
    fabric: Fabric, threads: int, folder: Path, *, task: Task, config: TrainConfig, callbacks: Callbacks
) -> tuple[int, str, int]:
    """Return the last fields of :class:`Trained` and leave the tensors in files.

    What a process returns must fit into a pipe, and shared memory ends with the process that made it.
    """
    started = time.monotonic()
    if fabric.world_size > 1:
        torch.set_num_threads(threads)
    state = _start(fabric, task, config, callbacks)
    leg, saved = Leg(config, state.step, started), started
    batches = task.batches(state.step, Rank(fabric.global_rank, fabric.world_size))
    stopped = leg.why_over(state.step, interrupted=False)
    if stopped is not None:
        _save(fabric, state, callbacks)
    with StopRequest() as request, leg.shown_on(callbacks.progress) as bar:
        means = Means()
        while stopped is None:
            means.add(_step(fabric, task, state, next(batches), config))
            bar.show(state.step)
            # The first process's clock and signals count, so that all processes decide alike.
            now, stopped = fabric.broadcast((time.monotonic(), leg.why_over(state.step, interrupted=request.received)))
            is_save_due = stopped is not None or now - saved > 60 * config.checkpoint_minutes
            if is_save_due or state.step % config.log_every == 0:
                _log(fabric, state, config, callbacks, means)
            if is_save_due:
                _save(fabric, state, callbacks)
                saved = now
    if fabric.is_global_zero:
        _write(folder / _PARAMETERS, state.module.state_dict())
        if state.average is not None:
            _write(folder / _AVERAGE, state.average)
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()  # threads of its own can abort a process that ends before them
    return state.step, stopped, leg.first_step


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.write_bytes(save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}))


def _read(path: Path) -> dict[str, Tensor]:
    return load(path.read_bytes())


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
    _move(state, state.ramp(config.restart_steps))
    state.optimizer.zero_grad()
    if isinstance(state.scheduler, ObservesLoss):
        loss = fabric.all_reduce(losses["loss"].detach(), reduce_op="mean")
        state.scheduler.observe(torch.as_tensor(loss))
    if state.scheduler is not None:
        state.scheduler.step()
    state.step += 1
    if config.ema_decay is not None:
        state.update_average(config.ema_decay)
    return {name: value.detach() for name, value in losses.items()}


def _move(state: TrainState, ramp: float) -> None:
    """Step with a share of the scheduled rates, and leave these as they were."""
    rates = [group["lr"] for group in state.optimizer.param_groups]
    for group, rate in zip(state.optimizer.param_groups, rates):
        group["lr"] = rate * ramp
    state.optimizer.step()
    for group, rate in zip(state.optimizer.param_groups, rates):
        group["lr"] = rate


def _log(fabric: Fabric, state: TrainState, config: TrainConfig, callbacks: Callbacks, means: Means) -> None:
    found, steps_per_second = means.take()
    numbers = {name: float(torch.as_tensor(fabric.all_reduce(v, reduce_op="mean"))) for name, v in found.items()}
    if not math.isfinite(numbers["loss"]):
        raise ConvergenceError(
            f"the loss became {numbers['loss']} by step {state.step}",
            remedy="Lower the learning rate, or compute in single precision (--precision 32-true)",
        )
    if fabric.is_global_zero:
        rate = float(state.optimizer.param_groups[0]["lr"]) * state.ramp(config.restart_steps)
        speed = round(steps_per_second, 4)
        callbacks.log({"step": state.step, **numbers, "learning_rate": rate, "steps_per_second": speed})


def _save(fabric: Fabric, state: TrainState, callbacks: Callbacks) -> None:
    if callbacks.store is not None and fabric.is_global_zero:
        callbacks.store.save(*state.pack())
    fabric.barrier()
