"""What a simulation leaves beside the images."""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitreous import __version__
from vitreous.data import Particles, Volume
from vitreous.io import write_relion_star
from vitreous.io.atomic import atomic_path
from vitreous.io.maps import write_map
from vitreous.io.stacks import StackSource
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.density import DensityGrid
from vitreous.simulate.motions import State
from vitreous.simulate.split import SPLITS
from vitreous.simulate.truth import Truth

STACK_NAME = "particles.mrcs"


@dataclass(frozen=True)
class Simulated:
    """What a simulation was made of and measured.

    Attributes
    ----------
    config, grid, states, centre_A
        As planned.
    signal_variance
        Variance of the noise-free images over all pixels of the stack, before scaling.
    """

    config: SimulationConfig
    grid: DensityGrid
    states: tuple[State, ...]
    centre_A: torch.Tensor
    signal_variance: float

    @property
    def signal_scale(self) -> float:
        """Factor that gives the noise-free images the variance ``snr`` (1 without noise)."""
        wanted = 1.0 if math.isinf(self.config.snr) else self.config.snr
        return math.sqrt(wanted / self.signal_variance)

    def as_json(self, truth: Truth) -> dict[str, Any]:
        """Return the content of ``truth.json``."""
        settings = asdict(self.config)
        settings["snr"] = None if math.isinf(self.config.snr) else self.config.snr
        counts = torch.bincount(truth.state, minlength=len(self.states)).tolist()
        return {
            "vitreous": __version__,
            "settings": settings,
            "pixel_size_A": self.grid.voxel_size_A,
            "resolution_A": self.grid.resolution_A,
            "centre_A": self.centre_A.tolist(),
            "snr": settings["snr"],
            "snr_definition": "variance of all pixels of the CTF-modulated noise-free images of the whole stack over "
            "the variance of the noise, whole box",
            "signal_scale": self.signal_scale,
            "states": [
                {
                    "map": state_map_name(i, len(self.states)),
                    "label": state.label,
                    "coordinates": list(state.coordinates),
                    "weight": state.weight,
                    "particles": counts[i],
                }
                for i, state in enumerate(self.states)
            ],
        }


def state_map_name(index: int, n_states: int) -> str:
    """Name of the map of a state: ``state_01.mrc`` is the first."""
    return f"state_{index + 1:0{max(2, len(str(n_states)))}d}.mrc"


def write_state_map(folder: Path, index: int, n_states: int, density: Volume) -> None:
    """Write the ground-truth map of a state."""
    write_map(folder / state_map_name(index, n_states), density)


def write_truth(folder: Path, simulated: Simulated, truth: Truth) -> None:
    """Write both STAR files, ``truth.json`` and ``latents_truth.csv`` beside a complete stack.

    Where some particles are to stay unseen, also the STAR file of every part, with true poses.
    """
    particles = _particles(folder, truth, simulated.grid.voxel_size_A)
    micrograph = {"rlnMicrographName": np.full(len(truth), "simulated.mrc")}
    states = {"rlnClassNumber": truth.state.numpy() + 1}
    write_relion_star(folder / "particles.star", particles, extra_columns=micrograph)
    write_relion_star(folder / "truth.star", particles, poses=truth.poses, extra_columns=micrograph | states)
    if bool((truth.split > 0).any()):
        for part in range(len(SPLITS)):
            _write_part(folder, particles, truth, part)
    _write_text(folder / "truth.json", json.dumps(simulated.as_json(truth), indent=2, allow_nan=False) + "\n")
    _write_text(folder / "latents_truth.csv", _latents(particles, simulated.states, truth))


def _write_part(folder: Path, particles: Particles, truth: Truth, part: int) -> None:
    rows = torch.nonzero(truth.split == part)[:, 0]
    if len(rows):
        columns = {
            "rlnMicrographName": np.full(len(rows), "simulated.mrc"),
            "rlnClassNumber": truth.state[rows].numpy() + 1,
        }
        poses = truth.poses.select(rows)
        write_relion_star(folder / f"{SPLITS[part]}.star", particles.select(rows), poses=poses, extra_columns=columns)


def _particles(folder: Path, truth: Truth, pixel_size_A: float) -> Particles:
    n = len(truth)
    source = StackSource([folder / STACK_NAME], torch.zeros(n, dtype=torch.int64), torch.arange(n), pixel_size_A)
    ids = np.array([f"{i + 1}@{STACK_NAME}" for i in range(n)])
    return Particles(source, truth.optics, ids)


def _latents(particles: Particles, states: tuple[State, ...], truth: Truth) -> str:
    dims = max(len(state.coordinates) for state in states)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "state", *(f"coordinate_{d + 1}" for d in range(dims)), "split"])
    padded = [[*state.coordinates, *[""] * (dims - len(state.coordinates))] for state in states]
    parts = [SPLITS[part] for part in truth.split.tolist()]
    rows.writerows(
        [name, k + 1, *padded[k], part] for name, k, part in zip(particles.ids.tolist(), truth.state.tolist(), parts)
    )
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)
