"""The arrays of a structure corpus in one compressed ``.npz`` file, without pickles."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.atomic import atomic_path
from vitreous.typing import PathLike

_KINDS = {
    "ids": ("U", 1),
    "structure_offsets": ("i", 1),
    "chain_offsets": ("i", 1),
    "points_A": ("f", 2),
    "residues": ("u", 1),
    "residue_names": ("U", 1),
    "split": ("i", 1),
    "family": ("i", 1),
    "self_overlap": ("f", 1),
}
"""Kind of number (numpy's letter) and dimensions of every array."""


def write_corpus_arrays(path: PathLike, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays of a corpus, whole or not at all.

    Raises
    ------
    ResourceError
        Where the disk is full or refuses.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_corpus_arrays(path: PathLike) -> dict[str, NDArray[Any]]:
    """Read the arrays that :func:`write_corpus_arrays` wrote and check that they fit together.

    Raises
    ------
    InputError
        Where the file is missing, damaged, of another kind, or its arrays contradict each other.
    """
    try:
        with reading(path), zipfile.ZipFile(path) as archive:
            missing = sorted(set(_KINDS) - {Path(name).stem for name in archive.namelist()})
        if missing:
            raise _malformed(path, f"no array {', '.join(missing)}")
        with reading(path), Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _KINDS}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _malformed(path, str(error)) from error
    _check(arrays, path)
    return arrays


def _check(arrays: Mapping[str, NDArray[Any]], path: PathLike) -> None:
    for name, (kind, dimensions) in _KINDS.items():
        array = arrays[name]
        if array.dtype.kind != kind or array.ndim != dimensions:
            raise _malformed(path, f"{name} is {array.dtype} with {array.ndim} axes")
    structures, chains = len(arrays["ids"]), len(arrays["chain_offsets"]) - 1
    _check_offsets(arrays["structure_offsets"], structures, chains, f"{path}: structure_offsets")
    _check_offsets(arrays["chain_offsets"], chains, len(arrays["points_A"]), f"{path}: chain_offsets")
    per_structure = {name: len(arrays[name]) for name in ("split", "family", "self_overlap")}
    if set(per_structure.values()) != {structures}:
        raise _malformed(path, f"{structures} ids but {per_structure}")
    if arrays["points_A"].shape != (len(arrays["residues"]), 3):
        raise _malformed(path, f"{len(arrays['residues'])} residues but points {arrays['points_A'].shape}")
    if not np.isfinite(arrays["points_A"]).all():
        raise _malformed(path, "points that are not finite")
    if len(arrays["residues"]) and arrays["residues"].max() >= len(arrays["residue_names"]):
        raise _malformed(path, "residues without a name")
    if not np.isin(arrays["split"], (0, 1, 2)).all():
        raise _malformed(path, "a split other than 0, 1, 2")


def _check_offsets(offsets: NDArray[Any], count: int, end: int, where: str) -> None:
    sound = len(offsets) == count + 1 and offsets[0] == 0 and offsets[-1] == end and bool((np.diff(offsets) > 0).all())
    if not sound:
        raise _malformed(where, f"not {count + 1} rising numbers from 0 to {end}")


def _malformed(path: PathLike, found: str) -> InputError:
    return InputError(
        "not a structure corpus", found=found, path=path, remedy="Make the file again with vitreous corpus build"
    )
