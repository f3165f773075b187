"""cryoDRGN's poses and CTF pickles, which carry no names: row i belongs to particle i of the stack."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Optics, Poses
from vitreous.errors import InputError
from vitreous.io.ctf_checks import check_optics
from vitreous.io.pickles import read_arrays

_CTF_COLUMNS = 9


def read_cryodrgn_poses(path: Path, n: int, field_of_view_A: float) -> Poses:
    """Read ``(rotations, translations)``; translations are fractions of the box, with the sign of RELION's origins.

    cryoDRGN samples slices at ``lattice @ R``, which is our ``R.T @ (kx, ky, 0)``, so rotations are taken as they are.

    Raises
    ------
    InputError
        Where there are not n of them, or they are not rotations and fractions.
    """
    arrays = read_arrays(path)
    rotations = np.asarray(arrays[0], dtype=np.float64)
    translations = np.asarray(arrays[1], dtype=np.float64) if len(arrays) > 1 else np.zeros((len(rotations), 2))
    if rotations.shape[1:] != (3, 3) or translations.shape != (len(rotations), 2) or len(arrays) > 2:
        raise InputError(
            "not cryoDRGN poses",
            expected="arrays of n x 3 x 3 and n x 2",
            found=" and ".join("x".join(map(str, array.shape)) for array in arrays),
            remedy="Write them again with cryodrgn parse_pose_star or parse_pose_csparc",
            path=path,
        )
    _require_rows(len(rotations), n, path)
    _require_rotations(rotations, path)
    if not (np.abs(translations) <= 1).all():
        row = int(np.argmin((np.abs(translations) <= 1).all(axis=1)))
        raise InputError(
            f"row {row + 1}: translation outside the box (old cryoDRGN files hold pixels)",
            expected="fractions of the box",
            found=translations[row],
            remedy="Write the poses again with cryoDRGN 0.3 or later",
            path=path,
        )
    shifts_A = 0.0 - torch.from_numpy(translations * field_of_view_A)
    return Poses(torch.from_numpy(rotations).float(), shifts_A.float())


def read_cryodrgn_ctf(path: Path, n: int, ids: NDArray[Any]) -> tuple[Optics, float]:
    """Read the n × 9 table (box, Å per pixel, defocus u, v, angle, kV, mm, amplitude contrast, phase in degrees).

    Returns the optics and the field of view in Å (box times pixel size), which downsampling does not change.

    Raises
    ------
    InputError
        Where the table has another shape, or values that no microscope has.
    """
    arrays = read_arrays(path)
    table: NDArray[Any] = arrays[0].astype(np.float64)
    if len(arrays) != 1 or table.ndim != 2 or table.shape[1] != _CTF_COLUMNS:
        raise InputError(
            "not a cryoDRGN CTF table",
            expected=f"one array of n x {_CTF_COLUMNS}",
            found="x".join(map(str, table.shape)),
            remedy="Write it again with cryodrgn parse_ctf_star or parse_ctf_csparc",
            path=path,
        )
    _require_rows(len(table), n, path)
    if not np.isfinite(table).all():
        row = int(np.argmin(np.isfinite(table).all(axis=1)))
        raise InputError("a CTF value is not finite", remedy="Write the table again", path=path, particle=str(ids[row]))
    fields_of_view = table[:, 0] * table[:, 1]
    if np.ptp(fields_of_view) > 1e-4 * abs(fields_of_view[0]):
        raise InputError("box times pixel size differs between particles", remedy="Split the stack", path=path)
    column = [torch.from_numpy(table[:, index].copy()) for index in range(_CTF_COLUMNS)]
    optics = Optics(
        defocus_u_A=column[2],
        defocus_v_A=column[3],
        defocus_angle_deg=column[4],
        voltage_kV=column[5],
        cs_mm=column[6],
        amplitude_contrast=column[7],
        phase_shift_deg=column[8],
        bfactor_A2=torch.zeros(n, dtype=torch.float64),
        group=torch.zeros(n, dtype=torch.int64),
    )
    check_optics(optics, ids, path)
    return optics, float(fields_of_view[0])


def _require_rows(found: int, n: int, path: Path) -> None:
    if found != n:
        raise InputError(
            "the file has another number of rows than there are particles, and rows carry no names to join on",
            expected=n,
            found=found,
            remedy="Give the file that was written from these very particles, or a .star file",
            path=path,
        )


def _require_rotations(matrices: NDArray[np.float64], path: Path) -> None:
    defect = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    good = (defect < 1e-3) & (np.linalg.det(matrices) > 0)
    if not good.all():
        raise InputError(
            f"row {int(np.argmin(good)) + 1}: not a rotation matrix", remedy="Write the poses again", path=path
        )
