"""Which file each part of a result becomes, in formats that other programs read."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.compute.memory import peak_memory_MB
from vitreous.data import Particles, Result, Volume
from vitreous.io import write_relion_star
from vitreous.io.atomic import atomic_path
from vitreous.io.conical_csv import write_conical_csv
from vitreous.io.fsc_csv import write_fsc_csv
from vitreous.io.fsc_xml import write_fsc_xml
from vitreous.io.locations import require_slices, stack_names_from
from vitreous.io.maps import write_map
from vitreous.io.tensors import save_tensors

_RELION_SCORES = {
    "log_likelihood": "rlnLogLikeliContribution",
    "max_probability": "rlnMaxValueProbDistribution",
}
"""Scores that RELION has a label for; the others become ``vitreousCamelCase``, which RELION keeps and ignores."""

Writer = Callable[[Path], None]


def result_files(result: Result, particles: Particles) -> Iterator[tuple[str, Writer]]:
    """Yield the name and the writer of every file that a result needs; the writers write whole files or none."""
    for name, volume, label in _maps(result):
        yield name, partial(write_map, volume=volume, label=label)
    for name, volume in result.maps.items():
        yield f"{name}.mrc", partial(write_below, volume=volume, label=name)
    if result.curves is not None:
        yield "fsc.csv", partial(write_fsc_csv, curves=result.curves)
        yield "fsc.xml", partial(write_fsc_xml, curves=result.curves, title="vitreous")
    if result.cones is not None:
        yield "conical_fsc.csv", partial(write_conical_csv, cones=result.cones)
    if result.latents is not None:
        yield "latents.npz", partial(_write_latents, particles=particles, result=result)
    for decoded in result.latent_volumes:
        yield f"volumes/{decoded.name}.mrc", partial(write_below, volume=decoded.volume, label=decoded.name)
    if result.latent_volumes:
        points = [(decoded.name, decoded.z) for decoded in result.latent_volumes]
        yield "volumes/latents.csv", partial(write_points, points=points)
    if result.latents is not None and result.classes is not None:
        for number in result.classes.unique().tolist():
            members = torch.nonzero(result.classes == number)[:, 0].cpu()
            yield f"classes/class_{number}.star", partial(_write_some, particles=particles, result=result, rows=members)
    if result.state:
        yield "state.safetensors", partial(save_tensors, tensors=result.state)
    yield (
        "particles.star",
        partial(
            write_relion_star,
            particles=particles,
            poses=result.poses,
            half_sets=result.half_sets,
            extra_columns=score_columns(result),
        ),
    )


def score_columns(result: Result) -> dict[str, NDArray[Any]]:
    """Return the columns that classes and scores become in ``particles.star``, by label without the underscore."""
    columns: dict[str, NDArray[Any]] = {}
    if result.classes is not None:
        columns["rlnClassNumber"] = result.classes.cpu().numpy()
    for name, values in result.scores.items():
        label = _RELION_SCORES.get(name, "vitreous" + "".join(word.capitalize() for word in name.split("_")))
        columns[label] = values.detach().cpu().double().numpy()
    return columns


def summary_of(result: Result, particles: int, seconds: float, warnings: Sequence[str]) -> dict[str, Any]:
    """Return the content of ``summary.json``; numbers that are not finite become null."""
    plain = {
        "verdict": result.verdict,
        "resolution_A": result.resolution_A,
        **({} if result.symmetry is None else {"symmetry": result.symmetry}),
        "particles": particles,
        "seconds": round(seconds, 2),
        "peak_memory_MB": round(peak_memory_MB()),
        "warnings": list(dict.fromkeys([*warnings, *result.warnings])),
        **result.metrics,
    }
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in plain.items()}


def _maps(result: Result) -> Iterator[tuple[str, Volume, str]]:
    if result.volume is not None:
        yield "volume.mrc", result.volume, "map"
    for number, half in enumerate(result.half_maps or (), 1):
        yield f"half{number}.mrc", half, f"half-map {number}, unfiltered"
    if result.mask is not None:
        yield "mask.mrc", result.mask, "mask"
    for number, volume in enumerate(result.class_volumes, 1):
        yield f"class_{number}.mrc", volume, f"class {number}"


def write_below(path: Path, volume: Volume, label: str) -> None:
    """Write a map into a folder that may have to be made."""
    path.parent.mkdir(exist_ok=True)
    write_map(path, volume, label)


def write_points(path: Path, points: Sequence[tuple[str, Tensor]]) -> None:
    """Write names and latents of the maps in ``volumes/``."""
    rows = [[name, *map(repr, z.tolist())] for name, z in points]
    header = ["name", *(f"z{number}" for number in range(1, len(rows[0])))]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(",".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")


def movie_script(names: Sequence[str]) -> str:
    """Return commands by which ChimeraX opens maps of ``volumes/`` as one series and plays it to and fro."""
    maps = " ".join(f"volumes/{name}.mrc" for name in names)
    return f"open {maps} vseries true\nvseries play #1 loop true direction oscillate\n"


def _write_some(path: Path, particles: Particles, result: Result, rows: Tensor) -> None:
    """Write some of the particles, with all columns of ``particles.star``."""
    poses, columns = result.poses, score_columns(result)
    path.parent.mkdir(exist_ok=True)
    write_relion_star(
        path,
        particles.select(rows),
        poses=None if poses is None else poses.select(rows),
        extra_columns={label: values[rows.numpy()] for label, values in columns.items()},
    )


def _write_latents(path: Path, particles: Particles, result: Result) -> None:
    """Write latents under the ids that the ``particles.star`` beside them gives its particles."""
    stacks = stack_names_from(path.absolute().parent, particles)
    ids = np.array([f"{row + 1}@{stack}" for row, stack in zip(require_slices(particles), stacks)], dtype=np.str_)
    found = {"z": result.latents, "std": result.latent_std}
    arrays: dict[str, Any] = {
        name: value.detach().cpu().float().numpy() for name, value in found.items() if value is not None
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, ids=ids, **arrays)
