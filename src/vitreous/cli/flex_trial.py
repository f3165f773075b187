"""A few steps of training that are tried, to tell how long all of them will take on this machine."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import torch

from vitreous.compute.progress import SilentProgress
from vitreous.data import Particles
from vitreous.methods.cryodrgn import cost as of_slices
from vitreous.methods.cryoformer import cost as of_points
from vitreous.methods.registry import get
from vitreous.train.config import Hardware, TrainConfig

if TYPE_CHECKING:
    from vitreous.cli.flex import Flex
    from vitreous.methods.cryodrgn.method import Task
    from vitreous.methods.cryoformer.training import Training

_POINTS = 24_000
"""Points that networks are asked for in a step that is tried, unless one image has more."""

_STEPS = 3
"""Steps that are tried; the first one makes what is kept, and does not count."""

_ENDLESS = 1000
"""Epochs of a training of which the beginning is tried, where boxes have not grown yet."""


class _TriedError(Exception):
    """Enough steps were tried."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def seconds_per_point(flex: "Flex", particles: Particles, hardware: Hardware, device: torch.device) -> float:
    """Seconds of training for each point that the networks are asked for, with everything that belongs to a step.

    The networks are the ones that will be trained, and so are the images; only an encoder's principal maps, which
    have not been fitted yet, are left out. Batches are cut down so that no trial is long.
    """
    tried, side, batch = _cut_down(flex, particles.box, len(particles))
    few = particles.select(torch.arange(batch))
    return _seconds_per_step(tried, few, hardware, device) / (batch * _points(flex, side))


def _cut_down(flex: "Flex", box: int, particles: int) -> tuple["Flex", int, int]:
    """Return settings whose first steps ask for no more points than are tried, the box they render and their batch."""
    if flex.method != "cryoformer":
        # the views of CryoNOO are compared with one another: two at least
        batch = min(flex.network.batch, particles, max(2, _images_of(_points(flex, box))))
        encoder: Literal["pixels"] | None = None if flex.method == "autodecoder" else "pixels"
        network = replace(flex.network, encoder=encoder, batch=batch, pose_wait=0.0, epochs=_ENDLESS)
        noo = replace(flex.noo, warmup=0.0) if flex.method == "cryonoo" else flex.noo
        return replace(flex, network=network, noo=noo), box, batch
    sides = [side for side in range(10, box, 2) if _points(flex, side) <= _POINTS]
    is_small = _points(flex, box) <= _POINTS
    side = box if is_small else max(sides, default=8)
    batch = min(flex.cryoformer.batch, particles, _images_of(_points(flex, side)))
    config = replace(flex.cryoformer, encoder=None, epochs=_ENDLESS, batch=batch, pose_wait=0.0, march=0.0)
    if not is_small:
        config = replace(config, march=0.5, first_box=side)
    return replace(flex, cryoformer=config), side, batch


def _seconds_per_step(flex: "Flex", few: Particles, hardware: Hardware, device: torch.device) -> float:
    from vitreous.train.loop import fit
    from vitreous.train.task import Callbacks

    rates: list[float] = []

    def log(line: Mapping[str, Any]) -> None:
        rates.append(line["steps_per_second"])

    def train(task: "Task | Training") -> NoReturn:
        config = TrainConfig(_STEPS, gradient_clip=None, log_every=1, seed=0)
        if fit(task, config, hardware, Callbacks(log)).stopped == "signal":
            raise KeyboardInterrupt
        raise _TriedError(1 / max(rates[1:]))

    try:
        get(flex.method)(flex.dims, *flex.settings).run(few, SilentProgress(), train, device)
    except _TriedError as tried:
        return tried.seconds
    message = f"{flex.method} does not train"
    raise ValueError(message)


def _points(flex: "Flex", box: int) -> float:
    if flex.method == "cryoformer":
        return of_points.points_per_image(box, flex.cryoformer)
    return of_slices.points_per_image(box)


def _images_of(points: float) -> int:
    return max(1, int(_POINTS / points))
