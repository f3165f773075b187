"""Maps decoded at the latents of single images, beside true maps or those of another run."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.cli.embed import load_run
from vitreous.cli.flex import FlexModel
from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.evaluate.per_image_fsc import one_image_per_state, per_image_fsc
from vitreous.evaluate.poses import match_on_ids
from vitreous.io.access import reading
from vitreous.io.maps import read_map
from vitreous.runs.manifest import Manifest
from vitreous.runs.store import STATE


def load_decoder(folder: Path) -> FlexModel:
    """Load what decodes the latents of a run: its own model, or that of the run that embedded its particles.

    Raises
    ------
    InputError
        Where it is no run of ``vitreous flex`` or ``embed``, or the former of the latter has gone.
    """
    states = [Path(file.path) for file in Manifest.read(folder).inputs if Path(file.path).name == STATE]
    return load_run(states[0].parent if states else folder)[0]


@dataclass(frozen=True)
class SimulatedTruth:
    """What ``latents_truth.csv`` of a simulation says of its particles.

    Attributes
    ----------
    path
        The file; the true maps lie beside it.
    ids, states, parts
        One per particle: name, number of its state from 1, and part (``train``, ``unseen_particles`` …).
    coordinates
        ``[n, k]``; NaN where a state has fewer.
    """

    path: Path
    ids: NDArray[Any]
    states: NDArray[np.int64]
    parts: NDArray[Any]
    coordinates: Tensor

    @classmethod
    def read(cls, path: Path) -> "SimulatedTruth":
        """Read the file; InputError where it is none."""
        try:
            with reading(path), path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            names = [name for name in rows[0] if name.startswith("coordinate_")]
            coordinates = torch.tensor([[float(row[name] or "nan") for name in names] for row in rows])
            states = np.array([int(row["state"]) for row in rows])
            ids, parts = (np.array([row.get(name, "all") for row in rows]) for name in ("id", "split"))
        except (KeyError, ValueError, IndexError, UnicodeDecodeError, AttributeError) as error:
            raise _not_a_truth(path) from error
        if not names or "id" not in rows[0]:
            raise _not_a_truth(path)
        return cls(path, ids, states, parts, coordinates)

    def rows_of(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows of particles; InputError where some are not in the file."""
        kept, rows = (np.asarray(found) for found in match_on_ids(ids, self.ids, partial=True))
        if len(kept) < len(ids):
            raise InputError(
                f"{len(ids) - len(kept)} of {len(ids)} particles have no true conformation",
                remedy="Give the latents_truth.csv of the simulation that made them",
                path=self.path,
            )
        return rows[np.argsort(kept)]

    def map_of(self, state: int) -> Volume:
        """Read the true map of a state."""
        for path in self.path.parent.glob(f"state_*{state}.mrc"):
            if path.stem.removeprefix("state_").lstrip("0") == str(state):
                return read_map(path)
        raise InputError(
            f"there is no map of state {state} beside the true conformations",
            remedy="Keep latents_truth.csv in the folder of its simulation",
            path=self.path,
        )


def _not_a_truth(path: Path) -> InputError:
    return InputError(
        "no true conformations",
        expected="columns id, state and coordinate_1",
        remedy="Give latents_truth.csv of vitreous simulate",
        path=path,
    )


def fsc_with_truth(
    model: FlexModel, z: Tensor, truth: SimulatedTruth, rows: NDArray[np.int64], images: int
) -> dict[str, Any]:
    """FSC areas of maps decoded for one image of each state, at most so many states, against the true maps."""
    chosen = images_of_states(truth.states[rows], images)
    return fsc_of_maps((model.volume(z[row]) for row in chosen), truth, rows[chosen])


def images_of_states(states: NDArray[np.int64], images: int) -> list[int]:
    """Draw one image of each state, at most so many states; the same states give the same images."""
    generator = torch.Generator().manual_seed(0)
    chosen = one_image_per_state(torch.from_numpy(states), generator)
    return chosen[torch.randperm(len(chosen), generator=generator)[:images]].tolist()


def fsc_of_maps(maps: Iterable[Volume], truth: SimulatedTruth, rows: NDArray[np.int64]) -> dict[str, Any]:
    """FSC areas of maps against those of the states of as many particles, whose rows in the truth are given."""
    pairs = ((volume, truth.map_of(int(truth.states[row]))) for volume, row in zip(maps, rows, strict=True))
    return per_image_fsc(pairs).summary()


def fsc_of_runs(models: Sequence[FlexModel], latents: Sequence[Tensor], images: int) -> dict[str, Any]:
    """FSC areas of the maps that two runs decode for the same images, at most so many."""
    first, second = models
    if first.box != second.box:
        raise InputError(
            "maps of the two runs are on different grids",
            found=f"{first.box} and {second.box} px",
            remedy="Run flex at one --box, or leave --maps out",
        )
    chosen = torch.randperm(len(latents[0]), generator=torch.Generator().manual_seed(0))[:images]
    pairs = ((first.volume(latents[0][row]), second.volume(latents[1][row])) for row in chosen.tolist())
    return per_image_fsc(pairs).summary()
