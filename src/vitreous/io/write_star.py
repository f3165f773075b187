"""Particle sets as RELION 3.1 STAR files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Particles, Poses
from vitreous.geometry.rotations import euler_from_rotation
from vitreous.io.image_names import STACK_MARK, joined_names
from vitreous.io.listing import NamedColumns
from vitreous.io.locations import require_slices, stack_names_from
from vitreous.io.relion import ANGLES, ORIGINS_A, ORIGINS_PX, relion_poses
from vitreous.io.star_text import write_star_blocks
from vitreous.io.write_optics import MICROSCOPE_COLUMNS, optics_table, states
from vitreous.typing import Int, PathLike, Tensor

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

    CTF values, pixel size and box are those that were used, at the scale of the image files, also where images were
    cropped on reading. The name of an image is kept where it still leads to the file from the folder of ``path``;
    otherwise it becomes an absolute path.

    Parameters
    ----------
    path
        The STAR file; it appears when it is complete.
    particles
        What to write.
    poses, half_sets
        One per particle, in place of the particles' own.
    extra_columns
        Columns to add or to replace, by label without the leading underscore, one value per particle.

    Raises
    ------
    ValueError
        Where a column has another length than the particles.
    InputError
        Where a particle's id is not ``index@stack``.
    ResourceError
        Where the file cannot be written.
    """
    given = _given_columns(particles)
    optics, group = optics_table(particles)
    columns = given | {"rlnImageName": _image_names(Path(path), particles), "rlnOpticsGroup": group}
    _add_ctf(columns, particles)
    _add_poses(columns, particles, poses)
    chosen = particles.half_sets if half_sets is None else half_sets
    if chosen is not None:
        columns["rlnRandomSubset"] = chosen.cpu().numpy()
    columns |= extra_columns or {}
    lengths = {label: len(column) for label, column in columns.items() if len(column) != len(particles)}
    if lengths:
        message = f"columns differ in length from {len(particles)} particles: {lengths}"
        raise ValueError(message)
    write_star_blocks(path, {"optics": optics, "particles": columns})


def _given_columns(particles: Particles) -> Columns:
    table = particles.table
    return dict(table.particles) if table is not None and table.dialect == "relion" else {}


def _image_names(path: Path, particles: Particles) -> NDArray[Any]:
    stacks = stack_names_from(path.absolute().parent, particles)
    given = _given_columns(particles).get("rlnImageName")
    # RELION takes x.mrc for a map unless it is called x.mrc:mrcs; names from a RELION file are left as they were.
    if given is None:
        marked = np.strings.endswith(stacks, ".mrc")
    else:
        marked = np.strings.endswith(given, np.array(STACK_MARK, dtype=given.dtype))
    if marked.any():
        stacks = np.strings.add(stacks, np.where(marked, STACK_MARK, ""))
    return joined_names(require_slices(particles), stacks, width=6)


def _add_ctf(columns: Columns, particles: Particles) -> None:
    for label, name in _CTF_COLUMNS.items():
        used = getattr(particles.optics, name).numpy()
        if not states(columns.get(label), used):
            columns[label] = used
    # RELION prefers a particle's own value to its group's, so what is there must say what was used.
    columns |= {
        label: getattr(particles.optics, name).numpy() for label, name in MICROSCOPE_COLUMNS.items() if label in columns
    }


def _add_poses(columns: Columns, particles: Particles, poses: Poses | None) -> None:
    """Add pose columns; those that say the same already stay digit for digit."""
    chosen = particles.poses if poses is None else poses
    if chosen is None:
        return
    for label in ORIGINS_PX:
        columns.pop(label, None)
    given = _given_poses(columns, particles.ids)
    if given is None or not _same(given.rotations, chosen.rotations):
        angles = euler_from_rotation(chosen.rotations.detach().cpu().to(torch.float64)).numpy()
        columns |= {label: np.round(angles[:, axis], 6) for axis, label in enumerate(ANGLES)}
    if given is None or not _same(given.shifts_A, chosen.shifts_A) or any(label not in columns for label in ORIGINS_A):
        origins = 0.0 - chosen.shifts_A.detach().cpu().to(torch.float64).numpy()
        columns |= {label: np.round(origins[:, axis], 6) for axis, label in enumerate(ORIGINS_A)}


def _given_poses(columns: Columns, ids: NDArray[Any]) -> Poses | None:
    if any(columns[label].dtype.kind not in "iuf" for label in (*ANGLES, *ORIGINS_A) if label in columns):
        return None
    return relion_poses(NamedColumns(Path(), columns, ids), pixel_size_A=None)


def _same(given: Tensor, chosen: Tensor) -> bool:
    return torch.equal(given, chosen.detach().cpu().to(given.dtype))
