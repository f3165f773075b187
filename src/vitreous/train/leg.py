"""One leg of training: when it ends, how far it is, and the means of what its steps return."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.train.config import TrainConfig


@dataclass(frozen=True)
class Leg:
    """A leg, which ends after its steps or its minutes, whichever is sooner.

    Attributes
    ----------
    config
        How long to train.
    first_step
        Steps that were done before.
    started
        ``time.monotonic()`` at its beginning.
    """

    config: TrainConfig
    first_step: int
    started: float

    def why_over(self, step: int, *, interrupted: bool) -> str | None:
        """Return ``"steps"``, ``"minutes"``, ``"signal"``, or None where the leg goes on."""
        if step >= self.config.steps:
            return "steps"
        if interrupted:
            return "signal"
        minutes = self.config.minutes
        return "minutes" if minutes is not None and time.monotonic() - self.started > 60 * minutes else None

    @contextmanager
    def shown_on(self, progress: Progress) -> Iterator["Meter"]:
        """Show a bar of the leg's seconds where it has minutes, of its steps otherwise."""
        minutes = self.config.minutes
        what, total = ("Training, s", 60 * minutes) if minutes else ("Training", self.config.steps - self.first_step)
        with progress.stage(what, max(0, round(total))):
            yield Meter(self, progress)


@dataclass
class Meter:
    """What a leg's bar shows."""

    leg: Leg
    progress: Progress
    shown: int = 0

    def show(self, step: int) -> None:
        """Bring the bar up to a step."""
        timed = self.leg.config.minutes is not None
        done = int(time.monotonic() - self.leg.started) if timed else step - self.leg.first_step
        if done > self.shown:
            self.progress.advance(done - self.shown)
            self.shown = done


@dataclass
class Means:
    """Means of scalars, kept on their device until they are taken."""

    totals: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Add one step's."""
        self.totals = {n: self.totals.get(n, torch.zeros_like(value)) + value for n, value in scalars.items()}
        self.count += 1

    def take(self) -> tuple[dict[str, Tensor], float]:
        """Return the means and the steps per second since the last call, and begin anew."""
        means = {name: total / self.count for name, total in self.totals.items()}
        now = time.monotonic()
        rate = self.count / max(now - self.since, 1e-9)
        self.totals, self.count, self.since = {}, 0, now
        return means, rate
