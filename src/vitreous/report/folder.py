"""What a report is made from: the files of a run folder, whichever of them are there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.io.star import read_star
from vitreous.runs.reader import Run, read_run

Array = NDArray[np.float64]
_STEP = re.compile(r"(?P<name>pc\d+|path|line)_\d+")


@dataclass(frozen=True)
class RunFiles:
    """A run with the numbers of its particles; maps are read when they are drawn.

    Attributes
    ----------
    run
        The run folder.
    particles
        Numeric columns of ``particles.star`` by label; empty where there is none.
    """

    run: Run
    particles: Mapping[str, Array]

    @classmethod
    def read(cls, folder: Path) -> "RunFiles":
        """Read a run folder.

        Raises
        ------
        InputError
            Where the folder is missing or no run folder, or a file in it is damaged.
        """
        if not folder.is_dir():
            raise InputError("no such folder", remedy="Name the output folder of a run", path=folder)
        run = read_run(folder)
        return cls(run, {} if run.particles is None else _numeric_columns(run.particles))

    def other_maps(self) -> list[Path]:
        """Return ``class_K.mrc`` in the order of K, then the maps in ``volumes/``."""
        folder = self.run.path
        numbered = [(path.stem.removeprefix("class_"), path) for path in folder.glob("class_*.mrc")]
        classes = sorted((int(number), path) for number, path in numbered if number.isdecimal())
        return [path for _, path in classes] + sorted((folder / "volumes").glob("*.mrc"))

    def motion_maps(self) -> list[Path]:
        """Return ``flexibility.mrc`` and the maps in ``attention/``, whichever are there."""
        folder = self.run.path
        return [*folder.glob("flexibility.mrc"), *sorted((folder / "attention").glob("query_*.mrc"))]

    def series(self) -> dict[str, list[Path]]:
        """Return the maps of every way through the latents, by its name and in order: ``pc1``, ``path`` …"""
        found: dict[str, list[Path]] = {}
        for path in sorted((self.run.path / "volumes").glob("*.mrc")):
            way = _STEP.fullmatch(path.stem)
            if way:
                found.setdefault(way["name"], []).append(path)
        return {name: maps for name, maps in found.items() if len(maps) > 2}


def _numeric_columns(path: Path) -> dict[str, Array]:
    tables = {name: table for name, table in read_star(path).items() if name != "optics"}
    if not tables:
        return {}
    columns = tables.get("particles", next(iter(tables.values()))).columns
    return {label: column.astype(np.float64) for label, column in columns.items() if column.dtype.kind in "iuf"}
