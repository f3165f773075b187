"""One training of CryoAI, compared with the truth after every round of steps.

    python -m benchmarks.amortised_run STACK OUT.json --seed 1 --minutes 3 --settings heads=7 volume=voxels

STACK is a folder of ``vitreous simulate``; settings are fields of ``CryoAIConfig``. What comparisons take
is not counted.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.config_words import config_of
from vitreous.compute.progress import SilentProgress
from vitreous.data import Particles, Poses, Volume
from vitreous.errors import VitreousError
from vitreous.evaluate.maps import compare_maps
from vitreous.evaluate.poses import PoseErrors, compare_poses
from vitreous.fourier.resize import resize_map
from vitreous.io import open_particles
from vitreous.io.maps import read_map
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.images import ImageReader
from vitreous.methods.cryoai.inference import poses_of
from vitreous.methods.cryoai.method import CryoAI
from vitreous.methods.cryoai.mirror import mirror_correlation
from vitreous.methods.cryoai.training import Training
from vitreous.methods.cryoai.volume import decoded_map
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

SAMPLE = 500


class Watched:
    """Trains round by round, and compares map and poses with the truth after each.

    Parameters
    ----------
    particles, truth
        With true poses; the true map.
    seed
        Of the parameters and of the order of images.
    """

    def __init__(self, particles: Particles, truth: Volume, seed: int) -> None:
        self.particles, self.truth, self.seed = particles, truth, seed
        self.state: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self.curve: list[dict[str, float]] = []
        self.cpu_seconds = 0.0
        self.volume = truth

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Keep a state of training."""
        self.state = {name: value.clone() for name, value in tensors.items()}, dict(values)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was kept."""
        return self.state

    def train(self, task: Training, steps: int, minutes: float | None) -> Mapping[str, Tensor]:
        """Train up to a step, then look."""
        del minutes
        started = time.process_time()
        config = TrainConfig(steps, None, gradient_clip=None, seed=self.seed)
        parameters = fit(task, config, None, Callbacks(store=self)).parameters
        self.cpu_seconds += time.process_time() - started
        self.curve.append({"cpu_seconds": self.cpu_seconds, "step": float(steps), **self.figures(task, parameters)})
        return parameters

    def figures(self, task: Training, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        """Errors of some poses and of the map."""
        network = task.module()
        network.load_state_dict(dict(parameters))
        network = network.eval().requires_grad_(False)
        some = torch.arange(0, len(self.particles), max(1, len(self.particles) // SAMPLE))[:SAMPLE]
        sample = self.particles.select(some)
        poses = poses_of(network, ImageReader(sample, task.config), SilentProgress())
        explained = parameters["explained"][: int(parameters["steps_done"]) // task.config.round_steps]
        found = errors(poses, sample)
        self.volume = decoded_map(network.volume, 1.0, task.reader.pixel_size_A)
        return {
            "explained": float(explained[-1]),
            "median_deg": found.median_deg,
            "squared_fnorm_median": found.squared_fnorm_median,
            "resolution_A": resolution(self.volume, self.truth),
        }


def errors(poses: Poses, particles: Particles) -> PoseErrors:
    """Compare poses with the true ones."""
    assert particles.poses is not None
    return compare_poses(poses, particles.poses, particles.pixel_size_A)


def resolution(volume: Volume, truth: Volume) -> float:
    """Where a map's correlation with the true one, at the map's box, falls below one half, in Å."""
    true = Volume(resize_map(truth.values, volume.box), volume.voxel_size_A)
    try:
        found = compare_maps(volume, true).resolution_05_A
    except VitreousError:
        return 2 * volume.voxel_size_A * volume.box
    return 2 * volume.voxel_size_A if found is None else float(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3.0, help="processor time of training, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--settings", nargs="*", default=[])
    return parser.parse_args()


class TimeIsUpError(Exception):
    """Processor time is up."""


def main() -> None:
    given = parse()
    torch.set_num_threads(given.threads)
    config = config_of(CryoAIConfig, given.settings)
    particles = open_particles(given.stack / "truth.star", contrast="bright")
    watched = Watched(particles, read_map(given.stack / "state_01.mrc"), given.seed)

    def train(task: Training, steps: int, minutes: float | None) -> Mapping[str, Tensor]:
        if watched.cpu_seconds > 60 * given.minutes:
            raise TimeIsUpError
        return watched.train(task, steps, minutes)

    torch.manual_seed(given.seed)
    try:
        warnings = CryoAI(config, given.seed).propose(particles, SilentProgress(), train).warnings
        verdict = "out of steps" if any("still learning" in each for each in warnings) else "converged"
    except TimeIsUpError:
        verdict = "out of time"
    mirror = mirror_correlation(watched.volume.values)[0]
    given.out.write_text(json.dumps({"verdict": verdict, "mirror_correlation": mirror, "curve": watched.curve}))


if __name__ == "__main__":
    main()
