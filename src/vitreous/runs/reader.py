"""Read a run folder back."""

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.data import ConicalCurves, ResolutionCurves, Volume
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.conical_csv import read_conical_csv
from vitreous.io.fsc_csv import read_fsc_csv
from vitreous.io.maps import read_map
from vitreous.runs.manifest import Manifest
from vitreous.runs.store import METRICS, SUMMARY


@dataclass(frozen=True)
class Run:
    """What a run left; small things are read at once, maps when they are asked for.

    Attributes
    ----------
    path
        The folder.
    manifest
        What the run was.
    summary
        ``summary.json``, or None where the run did not come to its end.
    metrics
        The lines of ``metrics.jsonl``.
    curves
        ``fsc.csv``, or None.
    cones
        ``conical_fsc.csv``, or None.
    particles
        Path of ``particles.star``, or None; :func:`vitreous.io.open_particles` opens it with its images.
    latents
        ``(ids [n], z [n, dim])``, or None.
    """

    path: Path
    manifest: Manifest
    summary: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, Any]]
    curves: ResolutionCurves | None
    cones: ConicalCurves | None
    particles: Path | None
    latents: tuple[NDArray[Any], NDArray[np.float32]] | None

    def map(self, name: str = "volume") -> Volume | None:
        """Read ``volume``, ``half1``, ``half2``, ``mask`` or ``class_K``, or return None where the run left none."""
        path = self.path / f"{name}.mrc"
        return read_map(path) if path.exists() else None


def read_run(path: Path) -> Run:
    """Read the folder of a run, finished or not.

    Raises
    ------
    InputError
        Where it is no run folder, or a file in it is damaged.
    """
    curves, cones, particles = path / "fsc.csv", path / "conical_fsc.csv", path / "particles.star"
    return Run(
        path=path,
        manifest=Manifest.read(path),
        summary=_summary(path / SUMMARY),
        metrics=_metrics(path / METRICS),
        curves=read_fsc_csv(curves) if curves.exists() else None,
        cones=read_conical_csv(cones) if cones.exists() else None,
        particles=particles if particles.exists() else None,
        latents=read_latents(path / "latents.npz") if (path / "latents.npz").exists() else None,
    )


def read_latents(path: Path) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return ids ``[n]`` and latents ``[n, dim]`` of a ``latents.npz``; pickled content is refused.

    Raises
    ------
    InputError
        Where the file is missing or damaged, or does not hold both.
    """
    try:
        with reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            ids, z = archive["ids"], archive["z"].astype(np.float32)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(
            "the file of latents is damaged",
            remedy="It may be half-copied: copy the run whole, or run its command again with --overwrite",
            path=path,
        ) from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError("no latents of vitreous", remedy="Give a latents.npz with ids and z", path=path) from error
    if z.ndim != 2 or ids.shape != z.shape[:1]:
        raise InputError("ids and latents do not fit", found=f"{ids.shape}, {z.shape}", remedy="Replace it", path=path)
    return ids, z


def read_points(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return names and latents ``[n, dim]`` of a ``.csv`` (columns ``z1``, ``z2`` …, ``name``) or a ``.npz`` (``z``).

    Points without names are called ``map_001`` and so on.

    Raises
    ------
    InputError
        Where there is none, a name occurs twice or cannot name a file, or a number is missing.
    """
    if path.suffix == ".npz":
        z = read_latents(path)[1]
        return _numbered(len(z)), z
    try:
        with reading(path), path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [name for name in rows[0] if re.fullmatch(r"z\d+", name)]
        z = np.array([[float(row[name]) for name in columns] for row in rows], dtype=np.float32)
        names = [row["name"] for row in rows] if "name" in rows[0] else _numbered(len(rows))
    except (TypeError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise _no_points(path) from error
    if not columns or not np.isfinite(z).all():
        raise _no_points(path)
    strange = [name for name in names if not re.fullmatch(r"[\w.+-]+", name or "") or names.count(name) > 1]
    if strange:
        raise InputError(
            "a name cannot be that of a map",
            expected="letters, digits and . + - _, every name once",
            found=strange[0],
            remedy="Rename it, or leave the column out",
            path=path,
        )
    return names, z


def _numbered(n: int) -> list[str]:
    return [f"map_{number:0{max(3, len(str(n)))}d}" for number in range(1, n + 1)]


def _no_points(path: Path) -> InputError:
    return InputError(
        "no latents",
        expected="a table with columns z1, z2 and so on, a number in every row",
        remedy="Write it as volumes/latents.csv of vitreous flex is written",
        path=path,
    )


def _summary(path: Path) -> Mapping[str, Any] | None:
    if not path.exists():
        return None
    try:
        with reading(path):
            return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("this is not JSON", remedy="Remove it", path=path) from error


def _metrics(path: Path) -> list[Mapping[str, Any]]:
    """Read the lines; the last one may be incomplete where the run was killed."""
    if not path.exists():
        return []
    with reading(path):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
