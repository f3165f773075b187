"""Particle sets as RELION 3.1 STAR files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Particles, Poses
from vitreous.geometry.rotations import euler_from_rotation
from vitreous.io.image_names import joined_names
from vitreous.io.locations import image_locations, require_slices, stack_names_from
from vitreous.io.relion import ANGLES, ORIGINS_A, ORIGINS_PX
from vitreous.io.star_text import write_star_blocks
from vitreous.typing import Int, PathLike, Tensor

_OPTICS_COLUMNS = {
    "rlnVoltage": "voltage_kV",
    "rlnSphericalAberration": "cs_mm",
    "rlnAmplitudeContrast": "amplitude_contrast",
}
_CTF_COLUMNS = {
    "rlnDefocusU": "defocus_u_A",
    "rlnDefocusV": "defocus_v_A",
    "rlnDefocusAngle": "defocus_angle_deg",
    "rlnPhaseShift": "phase_shift_deg",
    "rlnCtfBfactor": "bfactor_A2",
}

Columns = dict[str, NDArray[Any]]


def write_relion_star(
    path: PathLike,
    particles: Particles,
    *,
    poses: Poses | None = None,
    extra_columns: Mapping[str, NDArray[Any]] | None = None,
    half_sets: Int[Tensor, " n"] | None = None,
) -> None:
    """Write particles with an optics table and a particle table, keeping every RELION column they came with.

    ``poses`` and ``half_sets`` take the place of the particles' own. Pixel size and box are those of the image files,
    also where the images were cropped on reading. The name of an image is kept where it still leads to the file from
    the folder of ``path``; otherwise it becomes an absolute path.

    Parameters
    ----------
    path
        The STAR file; it appears when it is complete.
    particles
        What to write.
    poses
        One per particle.
    extra_columns
        Columns to add or to replace, by label without the leading underscore, one value per particle.
    half_sets
        1 or 2 per particle.

    Raises
    ------
    InputError
        Where a particle's id is not ``index@stack``.
    ResourceError
        Where the file cannot be written.
    """
    optics, group = _optics_table(particles)
    columns = _given_columns(particles)
    columns["rlnImageName"] = _image_names(Path(path), particles)
    columns["rlnOpticsGroup"] = group
    _add_ctf(columns, particles)
    _add_poses(columns, particles, poses)
    chosen = particles.half_sets if half_sets is None else half_sets
    if chosen is not None:
        columns["rlnRandomSubset"] = chosen.numpy()
    columns |= extra_columns or {}
    write_star_blocks(path, {"optics": optics, "particles": columns})


def _given_columns(particles: Particles) -> Columns:
    table = particles.table
    return dict(table.particles) if table is not None and table.dialect == "relion" else {}


def _image_names(path: Path, particles: Particles) -> NDArray[np.str_]:
    return joined_names(require_slices(particles), stack_names_from(path.absolute().parent, particles), width=6)


def _optics_table(particles: Particles) -> tuple[Columns, NDArray[np.int64]]:
    """Return the optics table and each particle's group number."""
    group = particles.optics.group.numpy()
    if particles.table is not None and "rlnOpticsGroup" in particles.table.optics:
        table = dict(particles.table.optics)
        size = len(table["rlnOpticsGroup"])
        rows, group = np.arange(size), np.asarray(table["rlnOpticsGroup"])[group]
        described = particles.optics.group.numpy()
    else:
        distinct, described = _distinct_optics(particles)
        rows, group = np.arange(len(distinct)), described + 1
        table = {"rlnOpticsGroup": rows + 1, "rlnOpticsGroupName": np.array([f"opticsGroup{r + 1}" for r in rows])}
    first = _first_rows(described, len(rows))
    for label, name in _OPTICS_COLUMNS.items():
        if label not in table and label not in _given_columns(particles):
            table[label] = getattr(particles.optics, name).numpy()[first]
    _add_scale(table, particles, len(rows))
    return table, group


def _distinct_optics(particles: Particles) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Number the combinations of voltage, aberration, amplitude contrast and group that occur."""
    values = [getattr(particles.optics, name).numpy() for name in _OPTICS_COLUMNS.values()]
    keys = np.stack([particles.optics.group.numpy().astype(np.float64), *values], 1)
    rows, inverse = np.unique(keys, axis=0, return_inverse=True)
    return rows, inverse.reshape(-1)


def _first_rows(codes: NDArray[np.int64], n_codes: int) -> NDArray[np.int64]:
    """Return the first row that has each code, 0 for codes that no row has."""
    first = np.zeros(n_codes, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def _add_scale(table: Columns, particles: Particles, n_groups: int) -> None:
    locations = image_locations(particles.source)
    box = particles.box if locations is None else locations.box
    pixel_size_A = particles.pixel_size_A if locations is None else locations.pixel_size_A
    table["rlnImagePixelSize"] = np.full(n_groups, round(pixel_size_A, 6))
    table["rlnImageSize"] = np.full(n_groups, box)
    table["rlnImageDimensionality"] = np.full(n_groups, 2)
    if particles.ctf_premultiplied:
        table["rlnCtfDataAreCtfPremultiplied"] = np.ones(n_groups, dtype=np.int64)


def _add_ctf(columns: Columns, particles: Particles) -> None:
    for label, name in _CTF_COLUMNS.items():
        values = getattr(particles.optics, name).numpy()
        given = columns.get(label)
        if given is None or given.dtype.kind not in "iuf" or not np.array_equal(given, values):
            columns[label] = values


def _add_poses(columns: Columns, particles: Particles, poses: Poses | None) -> None:
    """Add pose columns; those that came with the particles stay digit for digit where no others are given."""
    chosen = particles.poses if poses is None else poses
    if chosen is None:
        return
    complete = all(label in columns for label in (*ANGLES, *ORIGINS_A))
    if poses is None and complete:
        return
    for label in ORIGINS_PX:
        columns.pop(label, None)
    angles = euler_from_rotation(chosen.rotations.detach().cpu().to(torch.float64)).numpy()
    origins = -chosen.shifts_A.detach().cpu().to(torch.float64).numpy()
    columns |= {label: np.round(angles[:, axis], 6) for axis, label in enumerate(ANGLES)}
    columns |= {label: np.round(origins[:, axis], 6) + 0.0 for axis, label in enumerate(ORIGINS_A)}
