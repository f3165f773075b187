"""Training in legs: what a leg goes on from, and what it leaves for the next one, here or on another machine."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitreous.errors import InputError
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.published import refuse_other_network
from vitreous.runs.checkpoint import Checkpointer, load_any
from vitreous.runs.reader import read_run
from vitreous.runs.store import RunFolder
from vitreous.train.config import Hardware

if TYPE_CHECKING:
    from vitreous.methods.fastar.training import Pretraining

FREE_OPTIONS = (
    *("corpus", "real.stacks", "start", "shards", "model"),
    *("train.minutes", "train.steps", "train.checkpoint_minutes", "train.log_every", "train.restart_steps"),
)
"""Options in which legs may differ. Files are compared by content; another network is refused, not only named."""

_HISTORY = "history"


@dataclass(frozen=True)
class Leg:
    """What one leg did.

    Attributes
    ----------
    start_step, end_step
        Steps done before and after it.
    views
        Views that it trained on.
    seconds, hardware, date
        How long, on what, and when it began (ISO 8601, UTC).
    stopped
        ``"steps"``, ``"minutes"`` or ``"signal"``.
    """

    start_step: int
    end_step: int
    views: int
    seconds: float
    hardware: str
    date: str
    stopped: str


@dataclass(frozen=True)
class History:
    """What is kept with a training state beside it.

    Attributes
    ----------
    network
        The architecture.
    batch_sizes
        ``(first step, views per step)`` of all legs, where these differ.
    legs
        Legs that came to their end, as :class:`Leg` describes them.
    """

    network: Mapping[str, Any]
    batch_sizes: tuple[tuple[int, int], ...]
    legs: tuple[Mapping[str, Any], ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold; the architecture is one text, so that it is compared as a whole."""
        sizes = [list(pair) for pair in self.batch_sizes]
        return {"network": json.dumps(self.network), "batch_sizes": sizes, "legs": [dict(leg) for leg in self.legs]}

    @classmethod
    def read(cls, plain: Mapping[str, Any], batch_views: int) -> "History":
        """Read :meth:`plain`."""
        sizes = plain.get("batch_sizes") or [[0, batch_views]]
        return cls(json.loads(plain["network"]), tuple((a, b) for a, b in sizes), tuple(plain.get("legs", ())))

    def with_leg(self, leg: Leg) -> "History":
        """Return the history after a leg; one without a step leaves no trace."""
        return replace(self, legs=(*self.legs, asdict(leg))) if leg.end_step > leg.start_step else self

    def with_batches_of(self, views: int, step: int) -> "History":
        """Return the history of a leg that begins at a step with batches of so many views."""
        before = [pair for pair in self.batch_sizes if pair[0] < step] or [(0, views)]
        sizes = before if before[-1][1] == views else [*before, (step, views)]
        return replace(self, batch_sizes=tuple(sizes))


def take_up(
    folder: RunFolder, start: Path | None, model: ModelConfig, batch_views: int
) -> tuple[Checkpointer, History]:
    """Return the store of a leg, which holds the state that it goes on from, and what was before.

    Raises
    ------
    ConfigError
        Where that state is of another network; the message names the options that differ.
    InputError
        Where checkpoint or shards are damaged.
    """
    state, before = _origin(folder.checkpoint, start, batch_views)
    if state is None or before is None:
        history = History(asdict(model), ((0, batch_views),))
        return Checkpointer(folder.checkpoint, history.plain()), history
    refuse_other_network(before.network, model, start or folder.checkpoint)
    legs = (read_run(folder.path).summary or {}).get("legs") or before.legs
    history = History(asdict(model), before.batch_sizes, tuple(legs)).with_batches_of(batch_views, state[1]["step"])
    store = Checkpointer(folder.checkpoint, history.plain())
    store.save(*state)
    return store, history


def _origin(checkpoint: Path, start: Path | None, batch_views: int) -> tuple[Any, History | None]:
    from vitreous.runs.shards import import_shards

    loaded = load_any(checkpoint)
    if loaded is not None:
        return loaded[:2], History.read(loaded[2], batch_views)
    if start is None:
        return None, None
    tensors, values = import_shards(start)
    if _HISTORY not in values:
        raise InputError("this export is of no pose network", remedy="Name shards of `vitreous pretrain`", path=start)
    return (tensors, values), History.read(values.pop(_HISTORY), batch_views)


def refuse_shards(folder: Path, model: ModelConfig, run: Path) -> None:
    """Refuse before training what could not be exported after it.

    Raises
    ------
    ConfigError, InputError
        Where the network is too large for shards, or the folder cannot take them.
    """
    from vitreous.methods.fastar.model import PoseNetwork
    from vitreous.runs.shards import refuse_export

    refuse_export(folder, sum(p.numel() for p in PoseNetwork(model).parameters()), run)


def export(folder: Path, store: Checkpointer, history: History) -> None:
    """Write the state of a store, with its history, as shards."""
    from vitreous.runs.shards import export_shards

    loaded = store.load()
    if loaded is not None:
        tensors, values = loaded
        export_shards(folder, tensors, {**values, _HISTORY: history.plain()})


@dataclass(frozen=True)
class TrainingCurve:
    """Adds views and speed to the lines of the training loop."""

    log: Callable[[Mapping[str, float | int | str | None]], None]
    task: "Pretraining"

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Log a line."""
        rest = dict(line)
        step, speed = rest.pop("step"), rest.pop("steps_per_second")
        views = self.task.views_seen(step)
        per_second = round(speed * self.task.config.step.batch_views, 1)
        self.log({"step": step, "views": views, **rest, "images_per_second": per_second})


def hardware_of(legs: Sequence[Mapping[str, Any]]) -> str:
    """Return minutes by hardware in words."""
    minutes: dict[str, float] = {}
    for leg in legs:
        minutes[leg["hardware"]] = minutes.get(leg["hardware"], 0) + leg["seconds"] / 60
    return "; ".join(f"{hardware}, {time:.0f} min" for hardware, time in minutes.items())


def processor_of(hardware: Hardware) -> str:
    """Return what a leg ran on, in words."""
    from vitreous.evaluate.records import describe_machine

    machine = describe_machine()
    if hardware.accelerator == "cpu":
        threads = machine["threads"]
        return f"{threads} {'thread' if threads == 1 else 'threads'} of {machine['processor']}"
    return machine["gpu"] if hardware.devices == 1 else f"{hardware.devices} × {machine['gpu']}"
