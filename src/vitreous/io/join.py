"""Poses and CTF values from another file, joined by particle name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Optics, Poses
from vitreous.errors import InputError
from vitreous.io.cryodrgn import read_cryodrgn_ctf, read_cryodrgn_poses
from vitreous.io.cryosparc import read_cryosparc, read_cryosparc_poses
from vitreous.io.ctf_table import read_ctf_csv
from vitreous.io.listing import ImageNames, Listing, plain_stack_name
from vitreous.io.relion import read_relion, read_relion_poses

_NAMES_SHOWN = 3


def join_poses(listing: Listing, path: Path, box: int, pixel_size_A: float) -> Poses:
    """Return the pose of each particle from a ``.star``, ``.cs`` or cryoDRGN ``.pkl`` file.

    ``box`` and ``pixel_size_A`` are those of the image files. Shifts are in Å as the particles' own file counts them
    (:attr:`vitreous.io.listing.Listing.scale`).

    Raises
    ------
    InputError
        Where the file lacks poses, or the pose of some particle.
    """
    suffix = path.suffix.lower()
    pixel_size_A = pixel_size_A / listing.scale
    if suffix == ".pkl":
        return read_cryodrgn_poses(path, len(listing.ids), box * pixel_size_A)
    if suffix == ".star":
        other = read_relion_poses(path, pixel_size_A)
    elif suffix == ".cs":
        other = read_cryosparc_poses(path, pixel_size_A, by_uid="uid" in listing.table.particles)
    else:
        raise _unknown_kind("poses", path)
    if other.poses is None:
        raise InputError(
            "the file has no poses (rlnAngleRot … or alignments3D/pose)",
            remedy="Give the result of a refinement",
            path=path,
        )
    return other.poses.select(torch.from_numpy(_matching_rows(listing, other)))


def join_ctf(listing: Listing, path: Path, box: int) -> Listing:
    """Return the listing with the CTF of a ``.star``, ``.cs``, ``.csv`` or cryoDRGN ``.pkl`` file.

    ``box`` is that of the image files: a cryoDRGN table states the field of view, which gives their pixel size.

    Raises
    ------
    InputError
        Where the file lacks CTF values, or those of some particle.
    """
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        optics, field_of_view_A = read_cryodrgn_ctf(path, len(listing.ids), listing.ids)
        return _with_optics(listing, optics, field_of_view_A / box)
    if suffix == ".csv":
        other = read_ctf_csv(path, listing)
    elif suffix == ".star":
        other = read_relion(path)
    elif suffix == ".cs":
        other = read_cryosparc(path)
    else:
        raise _unknown_kind("CTF values", path)
    if other.optics is None:
        raise InputError("the file has no CTF values", remedy="Give a file that has them", path=path)
    rows = _matching_rows(listing, other)
    return _with_optics(listing, other.optics.select(torch.from_numpy(rows)), other.pixel_size_A)


def _with_optics(listing: Listing, optics: Optics, pixel_size_A: float | None) -> Listing:
    """Add optics; a metadata file's own pixel size comes first, but that of a bare stack's header comes last."""
    is_bare = not listing.table.particles
    order = (pixel_size_A, listing.pixel_size_A) if is_bare else (listing.pixel_size_A, pixel_size_A)
    return replace(listing, optics=optics, pixel_size_A=next((size for size in order if size is not None), None))


def _unknown_kind(what: str, path: Path) -> InputError:
    return InputError(
        f"unknown kind of file for {what}",
        expected=".star, .cs or .pkl",
        found=path.suffix or "no suffix",
        remedy="Give one of these",
        path=path,
    )


def _matching_rows(listing: Listing, other: Listing) -> NDArray[np.int64]:
    """Return the row of ``other`` for each particle: same uid, or same image; never the same row number."""
    uids, other_uids = listing.table.particles.get("uid"), other.table.particles.get("uid")
    if uids is not None and other_uids is not None:
        return _rows_of_keys(uids.astype(np.uint64), other_uids.astype(np.uint64), listing, other)
    for simplify in (plain_stack_name, _file_name):
        keys = _keys(listing.names, other.names, simplify)
        if keys is not None and np.isin(keys[0], keys[1]).all():
            return _rows_of_keys(*keys, listing, other)
    keys = _keys(listing.names, other.names, plain_stack_name)
    if keys is None:
        message = "distinct stacks keep distinct plain names"
        raise AssertionError(message)
    return _rows_of_keys(*keys, listing, other)


def _file_name(name: str) -> str:
    return PurePosixPath(plain_stack_name(name)).name


def _keys(
    names: ImageNames, others: ImageNames, simplify: Callable[[str], str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Number the images of both files alike; None where simplified names no longer tell stacks apart."""
    simple, other_simple = [simplify(name) for name in names.stacks], [simplify(name) for name in others.stacks]
    if len(set(simple)) < len(simple) or len(set(other_simple)) < len(other_simple):
        return None
    number = {name: index for index, name in enumerate(dict.fromkeys([*other_simple, *simple]))}
    width = int(max(names.slice_index.max(), others.slice_index.max())) + 1
    mine = np.array([number[name] for name in simple])[names.stack_index] * width + names.slice_index
    theirs = np.array([number[name] for name in other_simple])[others.stack_index] * width + others.slice_index
    return mine, theirs


def _rows_of_keys(wanted: NDArray[Any], available: NDArray[Any], listing: Listing, other: Listing) -> NDArray[np.int64]:
    order = np.argsort(available)
    ordered = available[order]
    place = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    missing = np.flatnonzero(ordered[place] != wanted)
    if len(missing):
        shown = ", ".join(str(name) for name in listing.ids[missing[:_NAMES_SHOWN]])
        raise InputError(
            f"{len(missing)} of {len(wanted)} particles of {listing.path.name} are not in this file: {shown}"
            + (", …" if len(missing) > _NAMES_SHOWN else ""),
            remedy="Give a file that covers all particles, or select the particles that it covers first",
            path=other.path,
        )
    return order[place]
