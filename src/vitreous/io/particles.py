"""One door for every particle file: metadata, images and, where given, poses and CTF from elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from vitreous.data import Optics, Particles, Poses
from vitreous.errors import ConfigError, InputError
from vitreous.io.bare_stack import read_bare_stack
from vitreous.io.contrast import DARK_NOTE, detect_contrast
from vitreous.io.cryosparc import read_cryosparc
from vitreous.io.join import join_ctf, join_poses
from vitreous.io.listing import Listing
from vitreous.io.mrc import read_header
from vitreous.io.optics_groups import checked_pixel_size_A
from vitreous.io.paths import resolve_stacks
from vitreous.io.relion import read_relion
from vitreous.io.scale_checks import require_shifts_in_box, voxel_size_notes
from vitreous.io.stacks import StackSource
from vitreous.typing import PathLike

Contrast = Literal["auto", "bright", "dark"]

NO_CTF = "none"
"""Given instead of a CTF file: the images carry no CTF."""

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
    files = resolve_stacks(listing.names.stacks, listing.path, options.datadir)
    box = _file_box(listing, files[0])
    listing = _with_ctf(listing, options, box)
    optics = _required_optics(listing)
    pixel_size_A = _pixel_size_A(listing, options)
    poses = listing.poses if options.poses is None else join_poses(listing, options.poses, box, pixel_size_A)
    poses, scale_notes = _with_given_scale(poses, listing)
    require_shifts_in_box(poses, box * pixel_size_A, listing)
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
        poses=poses,
        half_sets=listing.half_sets,
        ctf_premultiplied=listing.ctf_premultiplied,
        table=listing.table if listing.table.particles else None,
        notes=[*listing.notes, *scale_notes, *voxel_size_notes(source, pixel_size_A), *contrast_notes],
    )


def _read_listing(path: Path, options: ReadOptions) -> Listing:
    own_ctf = options.ctf is None
    readers: dict[str, Callable[[], Listing]] = {
        ".star": lambda: read_relion(path, options.pixel_size_A, own_ctf=own_ctf),
        ".cs": lambda: read_cryosparc(path, options.passthrough, options.pixel_size_A, own_ctf=own_ctf),
        ".mrcs": lambda: read_bare_stack(path),
        ".mrc": lambda: read_bare_stack(path),
    }
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError("this is a folder", remedy="Name the particles' .star, .cs or .mrcs file in it", path=path)
    if suffix in _COMPRESSED:
        command = f"{_COMPRESSED[suffix]} {path.name}"
        raise InputError("compressed files are not read", remedy=f"Unpack it first with `{command}`", path=path)
    if suffix not in readers:
        raise InputError(
            "unknown kind of particle file",
            expected=", ".join(readers),
            found=path.suffix or "no suffix",
            remedy="Give a RELION .star, a cryoSPARC .cs or an .mrcs file",
            path=path,
        )
    if options.passthrough and suffix != ".cs":
        raise ConfigError("--passthrough belongs to .cs files", remedy="Leave it out", path=path)
    return readers[suffix]()


def _with_ctf(listing: Listing, options: ReadOptions, box: int) -> Listing:
    if options.ctf is None:
        return listing
    # The optics table described the CTF that is replaced here.
    listing = replace(listing, table=replace(listing.table, optics={}))
    if str(options.ctf) == NO_CTF:
        return replace(listing, optics=Optics.without_ctf(len(listing.ids)))
    return join_ctf(listing, options.ctf, box)


def _required_optics(listing: Listing) -> Optics:
    if listing.optics is None:
        raise InputError(
            "there are no CTF values (rlnDefocusU …) for these images",
            remedy="Give a file that has them with --ctf, or --ctf none if the images carry no CTF",
            path=listing.path,
        )
    return listing.optics


def _pixel_size_A(listing: Listing, options: ReadOptions) -> float:
    size = listing.pixel_size_A if options.pixel_size_A is None else options.pixel_size_A
    if size is None:
        raise InputError("the pixel size is not in the file", remedy="Give --pixel-size-A in Å", path=listing.path)
    return checked_pixel_size_A(size, listing.path)


def _with_given_scale(poses: Poses | None, listing: Listing) -> tuple[Poses | None, list[str]]:
    """Keep shifts the same in pixels where another pixel size was given than the one they were made with."""
    scale = listing.scale
    if poses is None or scale == 1:
        return poses, []
    return Poses(poses.rotations, poses.shifts_A * scale), [
        f"--pixel-size-A {listing.pixel_size_A:g} replaces the stated {listing.stated_pixel_size_A:g} Å: shifts in Å "
        f"were multiplied by {scale:.5g}, so that they stay the same in pixels"
    ]


def _file_box(listing: Listing, file: Path) -> int:
    box = read_header(file).nx
    if listing.box is not None and box != listing.box:
        raise InputError(
            f"the images do not have the box size that {listing.path.name} states",
            expected=f"{listing.box} px",
            found=f"{box} px",
            remedy="Check that the table and the stack belong together, or correct the stated size",
            path=file,
        )
    return box


def _with_contrast(source: StackSource, listing: Listing, contrast: Contrast) -> tuple[StackSource, list[str]]:
    """Make particles bright on dark, and say so where they were not."""
    notes = []
    if contrast != "auto":
        sign, reason = (1.0, "") if contrast == "bright" else (-1.0, "--contrast dark was given")
    else:
        estimate = detect_contrast(source)
        sign, reason = estimate.sign, "judged by the images; --contrast bright overrides it"
        if listing.contrast_sign is not None:
            sign, reason = float(listing.contrast_sign[0]), "blob/sign says so"
            if estimate.is_significant and estimate.sign != sign:
                looks = "bright on dark" if estimate.sign > 0 else "dark on bright"
                notes.append(f"the images look {looks}, against blob/sign = {sign:g}, which was followed (--contrast)")
        elif not estimate.is_significant:
            notes.append("the images do not tell their contrast: taken as bright on dark (or give --contrast dark)")
    if sign > 0:
        return source, notes
    return source.with_contrast(-1.0), [
        *notes,
        f"{DARK_NOTE}: images were multiplied by -1 ({reason})",
    ]
