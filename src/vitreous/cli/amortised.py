"""An amortised network's training and its poses handed over to the search, which judges and refines them."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from vitreous.cli.context import RunContext
from vitreous.cli.networks import MethodRun
from vitreous.cli.running import Estimate
from vitreous.compute.device import resolve_device
from vitreous.data import Journal, Poses, Result, Volume
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.images import even_box
from vitreous.methods.registry import get
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.given import refuse_unusable
from vitreous.methods.search.stages import Stages
from vitreous.train.config import Hardware, TrainConfig

if TYPE_CHECKING:
    from vitreous.methods.cryoai.method import Proposal, Train
    from vitreous.methods.cryoai.training import Training

_PREFIX, _VALUES, _STAGE = "cryoai.", "cryoai.values", "network"
_MINUTES = "minutes of training"
_SAVE_SECONDS = 600.0

_ENCODER_WEIGHTS, _CONVOLUTION_PRODUCTS = 2.6e4, 135
"""Of a convolutional encoder with one channel in its first layer: weights, and products per pixel of its input."""

_ROUNDS = 3
"""Of the patience of training that it takes at full radius."""

_CPU_PRODUCTS, _GPU_PRODUCTS = 2.5e10, 5e12
"""Products per second of one core and of a GPU, roughly."""


NETWORK_LEFT = (
    "The network's poses were left: they led the two halves to different maps, or random orientations to one that "
    "explains the images better. The search began again from random orientations, and nothing of the network is in the "
    "result."
)


@dataclass(frozen=True)
class Amortised:
    """The amortised network as asked for on the command line."""

    config: CryoAIConfig
    device: str
    alone: bool


def amortised_then_search(run: MethodRun, network: Amortised, search: SearchConfig, context: RunContext) -> Result:
    """Train encoder and map, predict all poses; then search on from these.

    Raises
    ------
    InputError, ConfigError
        Before training, where the search cannot use the particles, or ``search.start_A``, at which poses are cut off,
        does not fit them.
    """
    from vitreous.methods.search.method import START_LEFT

    if not network.alone:
        refuse_unusable(run.particles, search, given=True)
    proposed = _proposed(run, network, search.seed)
    if network.alone:
        method = get("cryoai")(network.config, search.seed)
        alone: Result = method.reconstructed(run.particles, proposed, run.progress, run.mask)
        return alone
    context.say("the search goes on from the network's poses")
    result: Result = get("search")(search).run(*run, starts=proposed.poses)
    is_left = START_LEFT in result.warnings
    found = (NETWORK_LEFT if warning == START_LEFT else warning for warning in result.warnings)
    warnings = tuple(dict.fromkeys((*found, *proposed.warnings)))
    metrics = {**result.metrics, **proposed.metrics, "network_used": float(not is_left)}
    return replace(result, warnings=warnings, metrics=metrics)


def _proposed(run: MethodRun, network: Amortised, seed: int) -> "Proposal":
    """What the network found, in this run or in the one that it goes on with: a training that is over stays so."""
    from vitreous.methods.cryoai.method import Proposal

    kept = Stages(run.journal).get(_STAGE)
    if kept is not None:
        words = _decoded(kept["words"])
        poses, volume = Poses(kept["rotations"], kept["shifts_A"]), Volume(kept["values"], words["voxel_size_A"])
        return Proposal(poses, volume, tuple(words["warnings"]), words["metrics"])
    device = resolve_device(network.device)
    train = _trainer(run, network, (device, seed), HeldState(run.journal))
    found: Proposal = get("cryoai")(network.config, seed).propose(run.particles, run.progress, train, device)
    words = {"voxel_size_A": found.volume.voxel_size_A, "warnings": found.warnings, "metrics": dict(found.metrics)}
    tensors = {"rotations": found.poses.rotations, "shifts_A": found.poses.shifts_A, "values": found.volume.values}
    Stages(run.journal).keep(_STAGE, {**tensors, "words": _encoded(words)})
    run.journal.log({"stage": "network", **found.metrics})
    return found


def _encoded(values: Mapping[str, Any]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)


def _decoded(encoded: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(encoded.tolist()))
    return found


def estimate_training(config: CryoAIConfig, count: int, box: int, device: str) -> Estimate:
    """Estimate training and prediction: products of the encoder and of the map's network, in every step.

    Training is taken to converge in three times the rounds that it takes to notice.

    Parameters
    ----------
    config
        Networks and steps.
    count
        Particles.
    box
        Side of the particles' images in pixels.
    device
        As for ``--device``.
    """
    seen, compared = even_box(config.encoder_box, box), 0.39 * even_box(config.decoder_box, box) ** 2
    copies = 1 if config.loss == "l2" else 2
    poses = config.heads * {"l2": 1, "symmetric": 2, "mirrored": 4}[config.loss]
    weights = 3e2 if config.volume == "voxels" else 5 * config.width**2
    weights_of_encoder, products_of_encoder, features = _encoder_size(config, seen)
    of_encoder = 3 * copies * products_of_encoder
    of_map = (3 + (poses if poses > 1 else 0)) * compared * weights
    rate = _GPU_PRODUCTS if resolve_device(device).type == "cuda" else _CPU_PRODUCTS
    marching = 0 if config.march_from is None else config.march_steps
    steps = min(config.steps, marching + _ROUNDS * config.patience * config.round_steps)
    seconds = steps * config.batch * (of_encoder + of_map) / rate
    longest = math.inf if config.minutes is None else 60 * config.minutes * torch.get_num_threads()
    after = count * (copies * products_of_encoder + poses * compared * weights) / rate
    of_points = 16 * compared * (1 if config.volume == "voxels" else config.width)
    activations = 4.0 * config.batch * (copies * features + of_points)
    return Estimate(16 * weights_of_encoder + activations, min(seconds, longest) + after)


def _encoder_size(config: CryoAIConfig, side: int) -> tuple[float, float, float]:
    """Weights of the encoder, and products and features of one image."""
    if config.encoder == "cnn":
        products = float(_CONVOLUTION_PRODUCTS * (config.channels * side) ** 2)
        return _ENCODER_WEIGHTS * config.channels**2, products, 8.0 * config.channels * side**2
    width = config.encoder_width
    weights = float(width * (side**2 + 2 * width + 8 * config.heads))
    return weights, weights, 4.0 * width


def _trainer(run: MethodRun, network: Amortised, where: tuple[torch.device, int], state: "HeldState") -> "Train":
    from vitreous.train.loop import fit
    from vitreous.train.task import Callbacks

    device, seed = where
    accelerator: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    hardware = Hardware(accelerator, 1, network.config.precision, device.index or 0)

    def log(line: Mapping[str, Any]) -> None:
        run.journal.log({"stage": "training", **line})

    def train(task: "Training", steps: int, minutes: float | None) -> Mapping[str, Tensor]:
        state.load()
        left = None if minutes is None else max(minutes - state.earlier_minutes, 1e-6)
        config = TrainConfig(steps, left, gradient_clip=None, log_every=task.config.round_steps, seed=seed)
        trained = fit(task, config, hardware, Callbacks(log, state))
        if trained.stopped == "signal":
            state.write()
            raise KeyboardInterrupt
        return trained.parameters

    return train


@dataclass
class HeldState:
    """State of training that stays in memory between rounds and goes into a journal every ten minutes.

    The journal also keeps the stages of the search, so everything is a tensor beside theirs.

    Parameters
    ----------
    journal
        Where a state is looked for first.
    """

    journal: Journal
    held: tuple[dict[str, Tensor], dict[str, Any]] | None = field(default=None, init=False)
    written: float = field(default_factory=time.monotonic, init=False)
    began: float = field(default_factory=time.monotonic, init=False)
    earlier_minutes: float = field(default=0.0, init=False)
    """What the runs that this one goes on with had taken."""

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the state."""
        self.held = {name: value.detach().cpu().clone() for name, value in tensors.items()}, dict(values)
        if time.monotonic() - self.written > _SAVE_SECONDS:
            self.write()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last state, of this run or of the one that it goes on with."""
        if self.held is None:
            found = (self.journal.load() or ({}, {}))[0]
            if _VALUES in found:
                values = _decoded(found[_VALUES])
                self.earlier_minutes = values.pop(_MINUTES)
                tensors = {name.removeprefix(_PREFIX): value for name, value in found.items() if name != _VALUES}
                self.held = tensors, values
        return self.held

    def write(self) -> None:
        """Put the state into the journal, beside what the search left there."""
        if self.held is None:
            return
        tensors, values = self.held
        values = {**values, _MINUTES: self.earlier_minutes + (time.monotonic() - self.began) / 60}
        kept = {n: value for n, value in (self.journal.load() or ({}, {}))[0].items() if not n.startswith(_PREFIX)}
        ours = {f"{_PREFIX}{name}": value for name, value in tensors.items()} | {_VALUES: _encoded(values)}
        self.journal.save(kept | ours, {"stages": sorted({name.split(".")[0] for name in kept})})
        self.written = time.monotonic()
