"""RELION particle files: 2.x and 3.0 with one table, 3.1 to 5 with optics groups."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import MetadataTable, Poses
from vitreous.errors import InputError
from vitreous.geometry.rotations import rotation_from_euler
from vitreous.io.image_names import parse_image_names
from vitreous.io.listing import Listing, NamedColumns, require_unique_ids
from vitreous.io.optics_groups import OpticsGroups, common_pixel_size_A, given_groups, made_groups, stated_pixel_size_A
from vitreous.io.relion_ctf import refuse_unmodelled_optics, relion_optics, with_group_values
from vitreous.io.star import StarTable, read_star
from vitreous.typing import Int, PathLike, Tensor

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS_A = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGINS_PX = ("rlnOriginX", "rlnOriginY")
_LARGEST_ANGLE_DEG = 1e4
_PREMULTIPLIED = "rlnCtfDataAreCtfPremultiplied"


def read_relion(path: PathLike, pixel_size_A: float | None = None, *, own_ctf: bool = True) -> Listing:
    """Read a RELION particle STAR file.

    ``pixel_size_A`` takes the place of what the file says, but poses are in Å as the file counts
    them; with ``own_ctf=False`` its CTF values are left alone.

    Raises
    ------
    InputError
        Where the file has no particles, or something in it is missing, impossible or not modelled.
    """
    listing, particles, groups = _read_tables(path)
    _refuse_volumes(groups)
    refuse_unmodelled_optics(particles, groups)
    stated = common_pixel_size_A(groups) if pixel_size_A is None else stated_pixel_size_A(groups)
    numbers = np.asarray(groups.table["rlnOpticsGroup"])[groups.group]
    return replace(
        listing,
        table=MetadataTable("relion", {**particles.columns, "rlnOpticsGroup": numbers}, groups.table),
        pixel_size_A=stated if pixel_size_A is None else pixel_size_A,
        stated_pixel_size_A=stated,
        box=_common_box(groups),
        optics=relion_optics(particles, groups) if own_ctf else None,
        poses=relion_poses(particles, pixel_size_A if stated is None else stated),
        half_sets=half_sets(particles),
        ctf_premultiplied=_premultiplied(particles, groups),
        notes=[*listing.notes, *_notes(particles)],
    )


def read_relion_poses(path: PathLike, pixel_size_A: float | None = None) -> Listing:
    """Read names and poses only: neither CTF values nor optics need to be usable.

    ``pixel_size_A`` is that of origins in pixels, where the file does not state it.
    """
    listing, particles, groups = _read_tables(path)
    stated = common_pixel_size_A(groups)
    return replace(listing, poses=relion_poses(particles, pixel_size_A if stated is None else stated))


def _read_tables(path: PathLike) -> tuple[Listing, NamedColumns, OpticsGroups]:
    blocks = read_star(path)
    listing, particles = _named_particles(blocks, path)
    optics = blocks.get("optics")
    return listing, particles, made_groups(particles) if optics is None else given_groups(optics.columns, particles)


def _named_particles(blocks: dict[str, StarTable], path: PathLike) -> tuple[Listing, NamedColumns]:
    """Find the particle table and name its rows."""
    order = ["particles", "images", *blocks]
    name = next((n for n in order if n in blocks and "rlnImageName" in blocks[n].columns), None)
    if name is None:
        raise InputError(
            "no particle table in this STAR file",
            expected="a table with a column _rlnImageName",
            found=", ".join(f"data_{block}" for block in blocks),
            remedy="Give the particles' STAR file, not that of micrographs, a model or a job",
            path=path,
        )
    table = blocks[name]
    if len(table) == 0:
        raise InputError("the particle table has no rows", remedy="Check the selection that wrote it", path=path)
    file_path = Path(path)
    names = parse_image_names(table.columns["rlnImageName"], file_path)
    ids = names.ids
    require_unique_ids(ids, names, file_path)
    empty = MetadataTable("relion", {}, {})
    return Listing(file_path, names, ids, empty, notes=table.notes), NamedColumns(file_path, table.columns, ids)


def relion_poses(particles: NamedColumns, pixel_size_A: float | None) -> Poses | None:
    """Return the poses of a RELION table, or None where an angle is absent.

    Origins in pixels (before RELION 3.1) are those of the images, and absent origins are 0. A shift is the negative
    of an origin.
    """
    if any(label not in particles for label in ANGLES):
        return None
    angles = torch.from_numpy(np.stack([_angles_deg(particles, label) for label in ANGLES], 1))
    if any(label in particles for label in ORIGINS_A):
        origins = np.stack([particles.numbers(label, 0.0) for label in ORIGINS_A], 1)
    else:
        origins = np.stack([particles.numbers(label, 0.0) for label in ORIGINS_PX], 1)
        if origins.any() and pixel_size_A is None:
            raise InputError(
                "origins are in pixels and the pixel size is not known",
                remedy="Give --pixel-size-A",
                path=particles.path,
            )
        origins = origins * (pixel_size_A or 1.0)
    return Poses(rotation_from_euler(angles).float(), torch.from_numpy(0.0 - origins).float())


def _angles_deg(particles: NamedColumns, label: str) -> NDArray[np.float64]:
    values = particles.numbers(label)
    particles.require(
        np.abs(values) <= _LARGEST_ANGLE_DEG,
        f"{label} is not between {-_LARGEST_ANGLE_DEG:g} and {_LARGEST_ANGLE_DEG:g} degrees",
        label,
        "Give Euler angles in degrees, or leave this particle out",
    )
    return values


def half_sets(particles: NamedColumns) -> Int[Tensor, " n"] | None:
    """Return rlnRandomSubset, or None where it is absent or 0 throughout, as RELION writes it before a split."""
    if "rlnRandomSubset" not in particles:
        return None
    values = particles.numbers("rlnRandomSubset")
    if not values.any():
        return None
    particles.require(
        (values == 1) | (values == 2),
        "rlnRandomSubset is neither 1 nor 2",
        "rlnRandomSubset",
        "Correct it, or remove the column to have new half-sets drawn",
    )
    return torch.from_numpy(values.astype(np.int64))


def _refuse_volumes(groups: OpticsGroups) -> None:
    if "rlnImageDimensionality" in groups.table and (groups.in_use("rlnImageDimensionality") == 3).any():
        raise InputError(
            "the particles are sub-tomograms", remedy="Extract 2D particle images instead", path=groups.path
        )


def _common_box(groups: OpticsGroups) -> int | None:
    box = groups.common_number(
        "rlnImageSize", what="box size", remedy="Split the STAR file by optics group, or extract with one box size"
    )
    return None if box is None else round(box)


def _premultiplied(particles: NamedColumns, groups: OpticsGroups) -> bool:
    values = np.unique(with_group_values(particles, groups, [_PREMULTIPLIED]).numbers(_PREMULTIPLIED, 0.0))
    if len(values) > 1:
        raise InputError(
            "some images are multiplied by their CTF and some are not",
            remedy=f"Split the STAR file by {_PREMULTIPLIED}",
            path=groups.path,
        )
    return bool(values[0])


def _notes(particles: NamedColumns) -> list[str]:
    scale = particles.numbers("rlnCtfScalefactor", 1.0)
    if np.allclose(scale, 1.0, atol=1e-3):
        return []
    return [
        f"rlnCtfScalefactor lies between {scale.min():g} and {scale.max():g} and is not applied: "
        "images are brought to a common scale by their background"
    ]
