"""One door for every particle file: metadata, images and, where given, poses and CTF from elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vitreous.data import Optics, Particles
from vitreous.errors import InputError
from vitreous.io.join import join_ctf, join_poses
from vitreous.io.listing import Listing
from vitreous.io.mrc import read_header
from vitreous.io.optics_groups import checked_pixel_size_A
from vitreous.io.paths import resolve_stacks
from vitreous.io.relion import read_relion
from vitreous.io.stacks import StackSource
from vitreous.typing import PathLike

Contrast = Literal["auto", "bright", "dark"]

_COMPRESSED = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd"}


@dataclass(frozen=True)
class ReadOptions:
    """How to read particles.

    Attributes
    ----------
    datadir
        Folder with the image files, where their names in the table do not lead to them.
    passthrough
        cryoSPARC passthrough files that complete a ``.cs`` file.
    poses
        File with poses: ``.star``, ``.cs`` or cryoDRGN's ``.pkl``.
    ctf
        File with CTF values: ``.star``, ``.cs``, ``.csv`` or cryoDRGN's ``.pkl``; ``none`` says that the images
        carry no CTF.
    contrast
        ``bright`` (particles bright on dark), ``dark``, or ``auto``: what the file says, else what the images look
        like.
    box
        Side in pixels that images are Fourier-cropped to; that of the files by default.
    pixel_size_A
        Pixel size of the image files, where the table lacks it or is wrong.
    """

    datadir: Path | None = None
    passthrough: Sequence[Path] = ()
    poses: Path | None = None
    ctf: Path | None = None
    contrast: Contrast = "auto"
    box: int | None = None
    pixel_size_A: float | None = None


def open_particles(
    path: PathLike,
    *,
    datadir: Path | None = None,
    passthrough: Sequence[Path] = (),
    poses: Path | None = None,
    ctf: Path | None = None,
    contrast: Contrast = "auto",
    box: int | None = None,
    pixel_size_A: float | None = None,
) -> Particles:
    """Open a ``.star``, ``.cs`` or ``.mrcs`` file; see :class:`ReadOptions` and :func:`open_particles_with`."""
    options = ReadOptions(datadir, passthrough, poses, ctf, contrast, box, pixel_size_A)
    return open_particles_with(path, options)


def open_particles_with(path: PathLike, options: ReadOptions) -> Particles:
    """Open particles; headers are read and checked now, pixels when they are needed.

    Raises
    ------
    InputError
        Where something in the files is missing, malformed, impossible or not modelled.
    ConfigError
        Where the options do not fit the files.
    ResourceError
        Where a file cannot be opened.
    """
    listing = _read_listing(Path(path), options)
    pixel_size_A = _pixel_size_A(listing, options)
    optics = _optics(listing, options)
    listing_poses = listing.poses if options.poses is None else join_poses(listing, options.poses, pixel_size_A)
    files = resolve_stacks(listing.names.stacks, listing.path, options.datadir)
    _check_box(listing, files)
    source = StackSource(
        files,
        torch.from_numpy(listing.names.stack_index),
        torch.from_numpy(listing.names.slice_index),
        pixel_size_A,
        ids=listing.ids,
        box=options.box,
    )
    source, contrast_notes = _with_contrast(source, listing, options.contrast)
    return Particles(
        source=source,
        optics=optics,
        ids=listing.ids,
        poses=listing_poses,
        half_sets=listing.half_sets,
        ctf_premultiplied=listing.ctf_premultiplied,
        table=listing.table,
        notes=[*listing.notes, *contrast_notes],
    )


def _read_listing(path: Path, options: ReadOptions) -> Listing:
    readers: dict[str, Callable[[], Listing]] = {".star": lambda: read_relion(path)}
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        raise InputError(
            "compressed files are not read",
            remedy=f"Unpack it first with `{_COMPRESSED[suffix]} {path.name}`",
            path=path,
        )
    if path.is_dir():
        raise InputError("this is a folder", remedy="Name the particles' .star, .cs or .mrcs file in it", path=path)
    if suffix not in readers:
        raise InputError(
            "unknown kind of particle file",
            expected=", ".join(readers),
            found=path.suffix or "no suffix",
            remedy="Give a RELION .star, a cryoSPARC .cs or an .mrcs file",
            path=path,
        )
    return readers[suffix]()


def _pixel_size_A(listing: Listing, options: ReadOptions) -> float:
    if options.pixel_size_A is not None:
        return checked_pixel_size_A(options.pixel_size_A, listing.path)
    if listing.pixel_size_A is None:
        raise InputError("the pixel size is not in the file", remedy="Give --pixel-size in Å", path=listing.path)
    return listing.pixel_size_A


def _optics(listing: Listing, options: ReadOptions) -> Optics:
    if options.ctf is not None:
        return Optics.without_ctf(len(listing.ids)) if str(options.ctf) == "none" else join_ctf(listing, options.ctf)
    if listing.optics is None:
        raise InputError(
            "the file has no CTF values (rlnDefocusU …)",
            remedy="Give a file that has them with --ctf, or --ctf none if the images carry no CTF",
            path=listing.path,
        )
    return listing.optics


def _check_box(listing: Listing, files: Sequence[Path]) -> None:
    header = read_header(files[0])
    if listing.box is not None and header.nx != listing.box:
        raise InputError(
            f"the images do not have the box size that {listing.path.name} states",
            expected=f"{listing.box} px",
            found=f"{header.nx} px",
            remedy="Check that the table and the stack belong together, or correct the stated size",
            path=files[0],
        )


def _with_contrast(source: StackSource, listing: Listing, contrast: Contrast) -> tuple[StackSource, list[str]]:
    """Make particles bright on dark, and say so where they were not."""
    stated = listing.contrast_sign
    if contrast != "auto":
        sign, reason = (1.0, "") if contrast == "bright" else (-1.0, "as --contrast dark says")
    elif stated is not None:
        sign, reason = float(np.asarray(stated)[0]), "as blob/sign says"
    else:
        from vitreous.io.contrast import detect_contrast

        sign, reason = detect_contrast(source), "as the images look; --contrast bright overrides it"
    if sign > 0:
        return source, []
    return source.with_contrast(-1.0), [f"particles are dark on bright: images were multiplied by -1 ({reason})"]
