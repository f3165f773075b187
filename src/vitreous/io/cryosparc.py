"""cryoSPARC particle files: numpy structured arrays with fields like ``blob/path`` and ``alignments3D/pose``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import MetadataTable
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.cryosparc_optics import cryosparc_optics, refuse_unmodelled_fields
from vitreous.io.cryosparc_poses import cryosparc_half_sets, cryosparc_poses
from vitreous.io.image_names import factorize
from vitreous.io.listing import ImageNames, Listing, NamedColumns, require_unique_ids
from vitreous.typing import Float, PathLike, Tensor

Fields = dict[str, NDArray[Any]]

_NUMPY_MAGIC = b"\x93NUMPY"
_COMPRESSED_MAGIC = b"\x94CSDAT"
_ONE_BOX = "Export the particles of one box and pixel size together"


def read_cryosparc(
    path: PathLike, passthrough: Sequence[Path] = (), pixel_size_A: float | None = None, *, own_ctf: bool = True
) -> Listing:
    """Read a ``.cs`` file, completed by its passthrough files.

    ``pixel_size_A`` takes the place of ``blob/psize_A``, but poses are in Å as the file counts
    them; with ``own_ctf=False`` the CTF values are left alone.

    Raises
    ------
    InputError
        Where a file is not a cryoSPARC data set, has no images, does not match its passthrough files, or something in
        it is impossible or not modelled.
    """
    file_path = Path(path)
    fields = read_fields(file_path)
    for other in passthrough:
        fields = _joined(fields, read_fields(Path(other)), file_path, Path(other))
    listing, columns = _named_particles(fields, file_path)
    refuse_unmodelled_fields(columns)
    stated = _stated_pixel_size_A(columns) if pixel_size_A is not None else _pixel_size_A(columns)
    return replace(
        listing,
        pixel_size_A=stated if pixel_size_A is None else pixel_size_A,
        stated_pixel_size_A=stated,
        box=_box(columns),
        optics=cryosparc_optics(columns) if own_ctf else None,
        poses=cryosparc_poses(columns, pixel_size_A if stated is None else stated),
        half_sets=cryosparc_half_sets(columns),
        contrast_sign=_contrast_sign(columns),
    )


def read_cryosparc_poses(path: Path, pixel_size_A: float | None, *, by_uid: bool) -> Listing:
    """Read poses only; joined ``by_uid`` the file need not say where the images are."""
    fields = read_fields(path)
    if by_uid and "blob/path" not in fields:
        uids = _uids(fields, path)
        n = len(uids)
        names = ImageNames((path.name,), np.zeros(n, dtype=np.int64), np.arange(n))
        columns = NamedColumns(path, fields, np.strings.add("uid ", uids.astype(str)))
        listing = Listing(path, names, columns.ids, MetadataTable("cryosparc", {"uid": uids}, {}))
    else:
        listing, columns = _named_particles(fields, path)
    return replace(listing, poses=cryosparc_poses(columns, pixel_size_A))


def _named_particles(fields: Fields, path: Path) -> tuple[Listing, NamedColumns]:
    """Name the particles of a data set."""
    for needed in ("blob/path", "blob/idx"):
        if needed not in fields:
            raise InputError(
                f"no field {needed}: the file does not say where the images are",
                remedy="Give the file that has it with --passthrough, or export the particles again",
                path=path,
            )
    names = _image_names(fields)
    ids = names.ids
    require_unique_ids(ids, names, path)
    return Listing(path, names, ids, MetadataTable("cryosparc", fields, {})), NamedColumns(path, fields, ids)


def read_fields(path: Path) -> Fields:
    """Read a ``.cs`` file as columns; nothing in it is executed."""
    with reading(path), path.open("rb") as file:
        magic = file.read(len(_COMPRESSED_MAGIC))
        file.seek(0)
        _refuse_other_formats(magic, path)
        try:
            rows = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            objects = "Object arrays" in str(error)
            raise InputError(
                "holds pickled Python objects, which are not read" if objects else "not a complete cryoSPARC data set",
                remedy="Export the particles again from cryoSPARC" if objects else "Copy the file again",
                path=path,
            ) from error
    if not isinstance(rows, np.ndarray) or rows.dtype.names is None or rows.ndim != 1:
        raise InputError("not a cryoSPARC data set", remedy="Give a particles .cs file", path=path)
    if len(rows) == 0:
        raise InputError("the data set has no particles", remedy="Check the job that wrote it", path=path)
    return {name: rows[name] for name in rows.dtype.names}


def _refuse_other_formats(magic: bytes, path: Path) -> None:
    if magic == _COMPRESSED_MAGIC:
        raise InputError(
            "saved in cryoSPARC's compressed format",
            remedy="Export it from cryoSPARC, or save it in numpy format with cryosparc-tools",
            path=path,
        )
    if magic.startswith(b"\x1f\x8b"):
        raise InputError("compressed with gzip", remedy=f"Unpack it first with `gunzip {path.name}`", path=path)
    if magic != _NUMPY_MAGIC:
        raise InputError("not a cryoSPARC data set", remedy="Give a complete particles .cs file", path=path)


def _joined(fields: Fields, others: Fields, path: Path, other_path: Path) -> Fields:
    """Add the fields of a passthrough file, matched on uid."""
    uids, other_uids = _uids(fields, path), _uids(others, other_path)
    order = np.argsort(other_uids)
    ordered = other_uids[order]
    place = np.searchsorted(ordered, uids).clip(max=len(ordered) - 1)
    missing = int((ordered[place] != uids).sum())
    if missing:
        first = uids[ordered[place] != uids][0]
        raise InputError(
            f"{missing} of {len(uids)} particles of {path.name} are not in this passthrough file",
            found=f"no uid {first}",
            remedy="Give the passthrough file of the same job",
            path=other_path,
        )
    rows = order[place]
    return fields | {name: column[rows] for name, column in others.items() if name not in fields}


def _uids(fields: Fields, path: Path) -> NDArray[Any]:
    uids = fields.get("uid")
    if uids is None:
        raise InputError("no field uid to join on", remedy="Export the particles again from cryoSPARC", path=path)
    values, counts = np.unique(uids, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"uid {values[counts > 1][0]} occurs more than once", remedy="Remove duplicates in cryoSPARC", path=path
        )
    return uids


def _image_names(fields: Fields) -> ImageNames:
    paths = np.strings.decode(fields["blob/path"]) if fields["blob/path"].dtype.kind == "S" else fields["blob/path"]
    stacks, codes = factorize(paths)
    # A leading ">" marks an imported file that cryoSPARC links to.
    return ImageNames(tuple(name.removeprefix(">") for name in stacks), codes, fields["blob/idx"].astype(np.int64))


def _pixel_size_A(columns: NamedColumns) -> float | None:
    if "blob/psize_A" not in columns:
        return None
    sizes = columns.numbers("blob/psize_A")
    columns.require(
        sizes > 0, "blob/psize_A is not positive", "blob/psize_A", "Correct the file, or give --pixel-size-A"
    )
    same = np.abs(sizes - sizes[0]) <= 1e-4 * sizes[0]
    columns.require(same, f"blob/psize_A differs from the first particle's {sizes[0]:g} Å", "blob/psize_A", _ONE_BOX)
    return float(sizes[0])


def _stated_pixel_size_A(columns: NamedColumns) -> float | None:
    """Return the pixel size of the file, or None where it is none that a given one could be compared with."""
    sizes = columns.columns.get("blob/psize_A")
    return None if sizes is None or not (np.isfinite(sizes) & (sizes > 0)).all() else _pixel_size_A(columns)


def _box(columns: NamedColumns) -> int | None:
    shapes = columns.columns.get("blob/shape")
    if shapes is None:
        return None
    square = (shapes == shapes[:, :1]).all(axis=1)
    columns.require(square, "the image is not square", "blob/shape", "Extract the particles in a square box")
    columns.require(
        (shapes == shapes[0]).all(axis=1), f"box size differs from the first, {shapes[0, 0]} px", "blob/shape", _ONE_BOX
    )
    return int(shapes[0, 0])


def _contrast_sign(columns: NamedColumns) -> Float[Tensor, " n"] | None:
    if "blob/sign" not in columns:
        return None
    signs = columns.numbers("blob/sign")
    columns.require(np.abs(signs) == 1, "blob/sign is neither 1 nor -1", "blob/sign", "Give --contrast bright or dark")
    columns.require(
        signs == signs[0], f"blob/sign differs from the first, {signs[0]:g}", "blob/sign", "Export the two sets apart"
    )
    return torch.from_numpy(signs)
