"""The course of pre-training as data: what is simulated after how many views."""

import math
from dataclasses import dataclass, replace
from typing import Any

from vitreous.errors import ConfigError
from vitreous.methods.fastar.simulator import ViewConfig


@dataclass(frozen=True)
class Stage:
    """Values that are reached at the end of a stage; they move there from those of the stage before."""

    views_seen: int
    """Length of the stage, in single views."""

    views: int = 8
    """Views per set, the reference included; on the way to it in steps of four."""

    snr: tuple[float, float] = (1.0, 100.0)
    """Range of the signal-to-noise ratio of a 128-px image."""

    shift: float = 0.02
    """Largest shift before centring, each axis, in units of the field."""

    ctf: float = 0.0
    """Share of the batches with a CTF."""

    corpus: float = 0.5
    """Share of the sets that show structures of the corpus; the others show random blobs."""

    composite: float = 0.6
    """Share of the corpus sets that are put together from pieces."""

    stacks: float = 0.0
    """Share of the batches cut from given particle stacks with poses (the third stage of the paper)."""

    rate: float = 1.0
    """Learning rate, relative."""


CURRICULUM = (
    Stage(100_000, snr=(3.0, 300.0), shift=0.02, corpus=0.2),
    Stage(300_000, snr=(0.7, 70.0), shift=0.06, ctf=0.6, corpus=0.6),
    Stage(600_000, views=12, snr=(0.15, 10.0), shift=0.09, ctf=0.9, corpus=0.7),
    Stage(1_500_000, views=20, snr=(0.02, 2.0), shift=0.09, ctf=0.9, corpus=0.8),
    Stage(40_000_000, views=32, snr=(0.02, 1.0), shift=0.09, ctf=0.9, corpus=0.9),
)
"""From a few clean views to many noisy ones. Two views, the paper's start, leave one angle free: see the docs."""


@dataclass(frozen=True)
class Moment:
    """The curriculum at one point: a stage's values, interpolated."""

    stage: Stage
    view_config: ViewConfig


def moment(curriculum: tuple[Stage, ...], views_seen: int, base: ViewConfig) -> Moment:
    """Interpolate the curriculum after so many views; after its end the last stage's values stay.

    Raises
    ------
    ConfigError
        If the curriculum is empty or a stage has no length.
    """
    if not curriculum or any(stage.views_seen <= 0 for stage in curriculum):
        raise ConfigError("the curriculum needs stages of positive length", remedy="Correct views_seen in --config")
    before, start = curriculum[0], 0
    for stage in curriculum:
        if views_seen < start + stage.views_seen:
            now = _between(before, stage, (views_seen - start) / stage.views_seen)
            return Moment(now, _view_config(now, base))
        before, start = stage, start + stage.views_seen
    return Moment(before, _view_config(before, base))


def _between(a: Stage, b: Stage, t: float) -> Stage:
    def linear(name: str) -> float:
        return (1 - t) * getattr(a, name) + t * getattr(b, name)

    low, high = (math.exp((1 - t) * math.log(x) + t * math.log(y)) for x, y in zip(a.snr, b.snr))
    fewest, most = sorted((a.views, b.views))
    views = min(max(4 * round(linear("views") / 4), fewest), most)
    shares: dict[str, Any] = {name: linear(name) for name in ("shift", "ctf", "corpus", "composite", "stacks", "rate")}
    return replace(b, views=views, snr=(low, high), **shares)


def _view_config(stage: Stage, base: ViewConfig) -> ViewConfig:
    return replace(base, views=stage.views, snr=stage.snr, shift=stage.shift)
