"""Pose fields of cryoSPARC: rotation vectors and shifts in pixels of ``psize_A``.

``R = exp(pose)ᵀ`` and our shift is the negative of theirs; cryoDRGN's conversion of a real file agrees to rounding.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Poses
from vitreous.errors import InputError
from vitreous.geometry.rotations import rotation_from_vector
from vitreous.io.listing import NamedColumns
from vitreous.typing import Int, Tensor

_OF_A_CLASS = re.compile(r"(alignments\w*?_\d+)/pose")
_MULTI = "alignments3D_multi"


def cryosparc_poses(columns: NamedColumns, pixel_size_A: float | None) -> Poses | None:
    """Return ``alignments3D``, or the alignment of each particle's most probable class, or None.

    Classes are stored per class (``alignments_class3D_0/pose`` …, names vary with the version) or side by side
    (``alignments3D_multi/pose``, ``[n, classes, 3]``).
    """
    classes = sorted({match[1] for match in map(_OF_A_CLASS.fullmatch, columns.columns) if match})
    if "alignments3D/pose" in columns:
        vectors, shifts, size = _one_class(columns, "alignments3D", pixel_size_A)
    elif f"{_MULTI}/pose" in columns:
        vectors, shifts, size = _side_by_side(columns, pixel_size_A)
    elif classes:
        vectors, shifts, size = _most_probable(columns, classes, pixel_size_A)
    else:
        return None
    for field, values in (("alignments3D/pose", vectors), ("alignments3D/shift", shifts)):
        good = np.asarray(np.isfinite(values).all(axis=1))
        alignments = NamedColumns(columns.path, {field: values}, columns.ids)
        alignments.require(good, f"{field} is not finite", field, "Leave this particle out")
    rotations = rotation_from_vector(torch.from_numpy(vectors.astype(np.float64))).mT
    shifts_A = 0.0 - torch.from_numpy(shifts.astype(np.float64) * size[:, None])
    return Poses(rotations.float().contiguous(), shifts_A.float())


def cryosparc_half_sets(columns: NamedColumns) -> Int[Tensor, " n"] | None:
    """Return ``alignments3D/split`` (0 and 1) as 1 and 2; None where it is absent or all particles are in one half."""
    if "alignments3D/split" not in columns:
        return None
    values = columns.numbers("alignments3D/split")
    columns.require(
        (values == 0) | (values == 1), "alignments3D/split is neither 0 nor 1", "alignments3D/split", "Correct the file"
    )
    if np.ptp(values) == 0:
        return None
    return torch.from_numpy(values.astype(np.int64) + 1)


Alignment = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Rotation vectors ``[n, 3]``, shifts ``[n, 2]`` in pixels, and the pixel size ``[n]``."""


def _one_class(columns: NamedColumns, prefix: str, pixel_size_A: float | None) -> Alignment:
    vectors = columns.columns[f"{prefix}/pose"].astype(np.float64)
    shifts = columns.columns.get(f"{prefix}/shift", np.zeros((len(columns), 2))).astype(np.float64)
    return vectors, shifts, _pixel_sizes(columns, prefix, pixel_size_A)


def _most_probable(columns: NamedColumns, classes: Sequence[str], pixel_size_A: float | None) -> Alignment:
    posterior = np.stack([columns.numbers(f"{name}/class_posterior", 1.0) for name in classes], 1)
    best = posterior.argmax(axis=1)
    vectors, shifts, sizes = (
        np.stack(parts, 1) for parts in zip(*(_one_class(columns, name, pixel_size_A) for name in classes))
    )
    rows = np.arange(len(columns))
    return vectors[rows, best], shifts[rows, best], sizes[rows, best]


def _side_by_side(columns: NamedColumns, pixel_size_A: float | None) -> Alignment:
    posterior = columns.columns.get(f"{_MULTI}/class_posterior")
    vectors, shifts, sizes = _one_class(columns, _MULTI, pixel_size_A)
    if posterior is None or vectors.ndim != 3 or shifts.ndim != 3:
        raise InputError(
            f"{_MULTI} lacks poses per class",
            remedy="Give the particles of one class of the heterogeneous refinement",
            path=columns.path,
        )
    rows, best = np.arange(len(columns)), posterior.argmax(axis=1)
    return vectors[rows, best], shifts[rows, best], sizes


def _pixel_sizes(columns: NamedColumns, prefix: str, pixel_size_A: float | None) -> NDArray[np.float64]:
    stored = columns.columns.get(f"{prefix}/psize_A")
    if stored is not None:
        sizes = stored.astype(np.float64)
        return sizes if sizes.ndim == 1 else sizes[:, 0]
    if pixel_size_A is None:
        raise InputError("shifts are in pixels of unknown size", remedy="Give --pixel-size-A in Å", path=columns.path)
    return np.full(len(columns), pixel_size_A)
