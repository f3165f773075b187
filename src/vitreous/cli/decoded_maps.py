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
from vitreous.runs.manifest import InputFile, Manifest, fingerprint
from vitreous.runs.store import STATE


def load_decoder(folder: Path, known: Path | None = None) -> FlexModel:
    """Load what decodes the latents of a run: its own model, or that of the run that embedded its particles.

    Parameters
    ----------
    folder
        Of a run of ``vitreous flex`` or ``embed``.
    known
        Where the run that embedded the particles may lie when it is not in its place.

    Raises
    ------
    InputError
        Where it is no such folder, or the run that embedded its particles has gone or was made again.
    """
    if folder.is_file():
        raise InputError(
            "--maps needs the folder of a run, whose model decodes the latents",
            found="a file",
            remedy=f"Give {folder.parent}, if that is its run, or leave --maps out",
            path=folder,
        )
    manifest = Manifest.read(folder)
    states = [] if manifest.name == "flex" else [file for file in manifest.inputs if Path(file.path).name == STATE]
    return load_run(_embedded_by(folder, states[0], known) if states else folder)[0]


def _embedded_by(folder: Path, state: InputFile, known: Path | None) -> Path:
    """Find the run of flex whose model embedded the particles of a folder; another model must not decode them."""
    recorded = Path(state.path).parent
    for place in (recorded, known):
        run = place if place is None or place.is_dir() else place.parent
        if run is not None and (run / STATE).is_file() and fingerprint(run / STATE).sha256 == state.sha256:
            return run
    again = "embed its particles again with `vitreous embed`"
    if (recorded / STATE).is_file():
        raise InputError(
            "the run of vitreous flex was made again after these latents, which mean nothing to it",
            found=f"another {STATE} in {recorded}",
            remedy=f"If you kept the run that embedded them, name it with --known; else {again}",
            path=folder,
        )
    raise InputError(
        "maps are decoded by the run of vitreous flex that embedded the particles, and it is not there",
        expected=recorded,
        remedy=f"Bring it back, name the folder where it lies now with --known, or {again}",
        path=folder,
    )


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

    def columns_with_values(self, rows: NDArray[np.int64]) -> list[int]:
        """Return the numbers, from 0, of the coordinates that some of the rows have."""
        return torch.nonzero(self.coordinates[rows].isfinite().any(0))[:, 0].tolist()

    def complete(self, rows: NDArray[np.int64], columns: Sequence[int]) -> Tensor:
        """Return coordinates of rows, ``[n, k]``; InputError where one of them has none."""
        for column in columns:
            there = column < self.coordinates.shape[1]
            missing = rows if not there else rows[~self.coordinates[rows, column].isfinite().numpy()]
            if len(missing):
                raise InputError(
                    f"{len(missing)} of {len(rows)} particles have no number in coordinate_{column + 1}",
                    found=f"the first in line {int(missing.min()) + 2}" if there else "no such column",
                    remedy="Fill in the cells, or leave these particles out of the latents"
                    if there
                    else "Give true conformations of the same coordinates",
                    path=self.path,
                )
        return self.coordinates[rows][:, list(columns)]

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
