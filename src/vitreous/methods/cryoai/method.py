"""The CryoAI method: an encoder of poses and an implicit map, learned together from the images alone."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Poses, Result, Volume
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.images import ImageReader
from vitreous.methods.cryoai.inference import poses_of
from vitreous.methods.cryoai.mirror import SUSPECT_CORRELATION, mirror_correlation
from vitreous.methods.cryoai.training import Training, has_converged
from vitreous.methods.cryoai.volume import decoded_map
from vitreous.reconstruct.abinitio_input import check_input
from vitreous.reconstruct.known_poses import ReconstructConfig, check_half_sets, reconstruct_halves, split_half_sets

Train = Callable[[Training, int, float | None], Mapping[str, Tensor]]
"""Trains a task up to a step, or until so many minutes are over, from where it stood, and returns the ``state_dict`` of
its module."""

SHARED_NETWORK = (
    "Both half-sets got their poses from one network, so the resolution of their maps is too good. Leave "
    "--network-only out, and the search judges them."
)


@dataclass(frozen=True)
class Proposal:
    """What the network found, for a search to begin from.

    Attributes
    ----------
    poses
        Of all particles.
    volume
        The network's own map, in the decoder's box over the images' field.
    warnings
        For the user.
    metrics
        ``network_steps``; ``network_explained``, the share of the images' power that the map explained at the end of
        training; ``network_mirror_correlation``, that of the map with its own mirror image.
    """

    poses: Poses
    volume: Volume
    warnings: tuple[str, ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class _Trained:
    """The end of training: parameters, steps, what the map explained there, and whether that was all."""

    parameters: Mapping[str, Tensor]
    steps: int
    explained: float
    converged: bool


class CryoAI:
    """Amortised ab initio reconstruction (Levy et al. 2022, arXiv:2203.08138).

    Parameters
    ----------
    config
        Networks and training.
    seed
        Of the order of the images and of the half-sets.
    """

    def __init__(self, config: CryoAIConfig | None = None, seed: int = 0) -> None:
        self.config = CryoAIConfig() if config is None else config
        self.seed = seed

    def propose(
        self, particles: Particles, progress: Progress, train: Train, device: torch.device | str = "cpu"
    ) -> Proposal:
        """Train until the map explains no more, then predict the poses of all particles.

        Parameters
        ----------
        particles
            At least 100; poses in them are not used.
        progress
            Shows how far it is.
        train
            Does the training: the loop of :mod:`vitreous.train`, with its device, precision and checkpoints.
        device
            Where poses are predicted.

        Raises
        ------
        InputError
            If there are fewer than 100 particles.
        """
        check_input(particles, None)
        task = Training(ImageReader(particles, self.config), self.config, self.seed)
        trained = self._trained(task, train, progress)
        network = task.module()
        network.load_state_dict(trained.parameters)
        network = network.eval().to(device)
        network.requires_grad_(False)
        reader = task.reader
        volume = decoded_map(network.volume, reader.scale, reader.pixel_size_A)
        correlation, _ = mirror_correlation(volume.values)
        metrics = {
            "network_steps": float(trained.steps),
            "network_explained": trained.explained,
            "network_mirror_correlation": correlation,
        }
        warnings = _warnings(correlation, converged=trained.converged)
        return Proposal(poses_of(network, reader, progress), volume, warnings, metrics)

    def run(
        self,
        particles: Particles,
        progress: Progress,
        train: Train,
        mask: Volume | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> Result:
        """Train, predict the poses of all particles and reconstruct from them; nothing judges the result.

        Parameters and errors are those of :meth:`propose`; ``mask`` is the soft mask of the final FSC, made from the
        map by default.
        """
        return self.reconstructed(particles, self.propose(particles, progress, train, device), progress, mask)

    def reconstructed(
        self, particles: Particles, found: Proposal, progress: Progress, mask: Volume | None = None
    ) -> Result:
        """Reconstruct from the poses that :meth:`propose` found; nothing judges the result."""
        half_sets = split_half_sets(particles, self.seed)
        placed = replace(particles.with_poses(found.poses), half_sets=half_sets)
        made = reconstruct_halves(placed, ReconstructConfig(seed=self.seed), progress, mask)
        warnings = (*check_half_sets(half_sets), *made.warnings, *found.warnings, SHARED_NETWORK)
        return replace(
            made,
            poses=found.poses,
            verdict="ambiguous",
            warnings=tuple(dict.fromkeys(warnings)),
            metrics={**made.metrics, **found.metrics, "independent_halves": 0.0},
        )

    def _trained(self, task: Training, train: Train, progress: Progress) -> _Trained:
        """Train round by round, until the map explains no more, or steps or minutes are over."""
        config, started = self.config, time.monotonic()
        seconds = math.inf if config.minutes is None else 60 * config.minutes
        step = 0
        with progress.stage("Training", total=config.steps):
            while True:
                before, step = step, min(step + config.round_steps, config.steps)
                left = None if config.minutes is None else config.minutes - (time.monotonic() - started) / 60
                parameters = train(task, step, left)
                progress.advance(step - before)
                done = min(step, int(parameters["steps_done"]))
                converged = has_converged(
                    parameters["explained"][: done // config.round_steps], task.reader.box, config
                )
                is_late = done < step or time.monotonic() - started >= seconds
                if converged or is_late or step == config.steps:
                    last = explained_at(parameters["explained"], done, config.round_steps)
                    return _Trained(parameters, done, last, converged=converged)


def explained_at(explained: Tensor, steps: int, round_steps: int) -> float:
    """Mean share of explained power of the last round, over the steps that it has had; 0 before the first step."""
    if steps == 0:
        return 0.0
    last, had = (steps - 1) // round_steps, (steps - 1) % round_steps + 1
    return float(explained[last]) * round_steps / had


def _warnings(mirror: float, *, converged: bool) -> tuple[str, ...]:
    found = []
    if not converged:
        found.append(
            "The network was still learning when its training ended: more --cryoai.steps or --cryoai.minutes may help."
        )
    if mirror >= SUSPECT_CORRELATION:
        found.append(
            f"The network's map is nearly its own mirror image (correlation {mirror:.2f}), which its training can be "
            "trapped in. Try another --seed, or --cryoai.loss symmetric or mirrored, unless the particle has a mirror "
            "plane at this resolution."
        )
    return tuple(found)
