"""Particle sets as cryoSPARC data sets."""

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Particles, Poses
from vitreous.geometry.rotations import vector_from_rotation
from vitreous.io.atomic import atomic_path
from vitreous.io.image_names import split_ids
from vitreous.io.locations import absolute_name, image_locations, require_slices
from vitreous.typing import PathLike

_SAME = 1e-6
_NAMES = ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad", "phase_shift_rad", "bfactor")
_USED = {f"ctf/{name}" for name in _NAMES}

Fields = dict[str, NDArray[Any]]


def write_cs(path: PathLike, particles: Particles, poses: Poses | None = None) -> None:
    """Write a ``.cs`` file with alignments, in numpy's format.

    Particles that came from a ``.cs`` file keep their fields, types, uids and (project-relative) image paths, so that
    the file goes back into the project it came from; alignments and half-sets are brought up to date, as are CTF
    values, contrast sign and pixel size where others were used. Others get the fields that cryoSPARC
    needs, absolute image paths, and uids made from their ids.

    Parameters
    ----------
    path
        The ``.cs`` file; it appears when it is complete.
    particles
        What to write.
    poses
        One per particle, in place of the particles' own.

    Raises
    ------
    InputError
        Where a particle's id is not ``index@stack``.
    ResourceError
        Where the file cannot be written.
    """
    table = particles.table
    own = table is not None and table.dialect == "cryosparc"
    fields = _own_fields(dict(table.particles), particles) if table is not None and own else _fresh_fields(particles)
    chosen = particles.poses if poses is None else poses
    if chosen is not None:
        _update_alignments(fields, particles, chosen)
    if particles.half_sets is not None:
        _put(fields, "alignments3D/split", particles.half_sets.cpu().numpy() - 1, np.dtype("<u4"))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, _as_rows(fields), allow_pickle=False)


def _own_fields(fields: Fields, particles: Particles) -> Fields:
    """Bring the fields of a ``.cs`` file in line with what was used; those that say so already stay as they are."""
    ctf = _ctf_fields(particles)
    # A file without CTF values gets all fields of it, another one those that it lacks only where they are not zero.
    used = {
        name: column
        for name, column in ctf.items()
        if "ctf/df1_A" not in fields or (name in _USED and (name in fields or column.any()))
    }
    locations = image_locations(particles.source)
    if locations is not None:
        n = len(particles)
        if "blob/sign" in fields or locations.contrast_sign < 0:
            used["blob/sign"] = np.full(n, locations.contrast_sign)
        used["blob/psize_A"] = np.full(n, locations.pixel_size_A)
        _rescale_alignments(fields, locations.pixel_size_A)
    for name, column in used.items():
        stored = fields.get(name)
        if stored is None:
            fields[name] = column if column.dtype.kind != "f" else column.astype("<f4")
        elif stored.dtype.kind in "iuf" and not np.allclose(stored, column, rtol=_SAME, atol=_SAME):
            _put(fields, name, column, stored.dtype)
    return fields


def _rescale_alignments(fields: Fields, pixel_size_A: float) -> None:
    """Let the pixels that shifts are counted in grow with those of the images."""
    stored = fields.get("blob/psize_A")
    if stored is None or not (stored > 0).all() or np.allclose(stored, pixel_size_A, rtol=_SAME):
        return
    for name in fields:
        if name.startswith("alignments") and name.endswith("/psize_A"):
            scale = pixel_size_A / stored.astype(np.float64)
            _put(fields, name, (fields[name].T * scale).T, fields[name].dtype)


def _update_alignments(fields: Fields, particles: Particles, poses: Poses) -> None:
    locations = image_locations(particles.source)
    pixel_size_A = particles.pixel_size_A if locations is None else locations.pixel_size_A
    stored = fields.get("alignments3D/psize_A")
    sizes = np.full(len(particles), pixel_size_A) if stored is None else stored.astype(np.float64)
    vectors = vector_from_rotation(poses.rotations.detach().cpu().to(torch.float64).mT)
    shifts = 0.0 - poses.shifts_A.detach().cpu().to(torch.float64).numpy() / sizes[:, None]
    single = np.dtype("<f4")
    _put(fields, "alignments3D/pose", vectors.numpy(), single)
    _put(fields, "alignments3D/shift", shifts, single)
    _put(fields, "alignments3D/psize_A", sizes, single)


def _put(fields: Fields, name: str, values: NDArray[Any], kind: np.dtype[Any]) -> None:
    """Set a field, with the type that it has already."""
    fields[name] = values.astype(fields[name].dtype if name in fields else kind)


def _as_rows(fields: Fields) -> NDArray[Any]:
    kinds = [(name, column.dtype, column.shape[1:]) for name, column in fields.items()]
    rows = np.empty(len(next(iter(fields.values()))), dtype=kinds)
    for name, column in fields.items():
        rows[name] = column
    return rows


def _fresh_fields(particles: Particles) -> Fields:
    n = len(particles)
    locations = image_locations(particles.source)
    box = particles.box if locations is None else locations.box
    pixel_size_A = particles.pixel_size_A if locations is None else locations.pixel_size_A
    sign = 1.0 if locations is None else locations.contrast_sign
    stacks = split_ids(particles.ids)[1]
    if locations is not None:
        files = np.array([absolute_name(file) for file in locations.files])
        stacks = files[locations.file_index]
    return {
        "uid": np.array([_uid(name) for name in particles.ids.tolist()], dtype="<u8"),
        "blob/path": np.strings.encode(stacks, "utf-8"),
        "blob/idx": require_slices(particles).astype("<u4"),
        "blob/shape": np.full((n, 2), box, dtype="<u4"),
        "blob/psize_A": np.full(n, pixel_size_A, dtype="<f4"),
        "blob/sign": np.full(n, sign, dtype="<f4"),
        **_ctf_fields(particles),
    }


def _ctf_fields(particles: Particles) -> Fields:
    optics, n = particles.optics, len(particles)
    values = {
        "accel_kv": optics.voltage_kV,
        "cs_mm": optics.cs_mm,
        "amp_contrast": optics.amplitude_contrast,
        "df1_A": optics.defocus_u_A,
        "df2_A": optics.defocus_v_A,
        "df_angle_rad": torch.deg2rad(optics.defocus_angle_deg),
        "phase_shift_rad": torch.deg2rad(optics.phase_shift_deg),
        "bfactor": optics.bfactor_A2,
        "scale": torch.ones(n),
        "scale_const": torch.zeros(n),
    }
    zeros = {"shift_A": 2, "tilt_A": 2, "trefoil_A": 2, "tetra_A": 4, "anisomag": 4}
    return {
        "ctf/type": np.full(n, b"imported"),
        "ctf/exp_group_id": optics.group.numpy().astype("<u4"),
        **{f"ctf/{name}": column.numpy().astype("<f4") for name, column in values.items()},
        **{f"ctf/{name}": np.zeros((n, width), dtype="<f4") for name, width in zeros.items()},
    }


def _uid(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
