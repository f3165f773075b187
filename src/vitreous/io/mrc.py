"""Headers of MRC2014 files (Cheng et al. 2015, doi:10.1016/j.jsb.2015.04.002), read and made without touching data."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mrcfile.constants import IMAGE_STACK_SPACEGROUP, MAP_ID, VOLUME_SPACEGROUP
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from vitreous import __version__
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.typing import PathLike

HEADER_BYTES = 1024
"""Size of the fixed part of the header."""

_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED_MODES = {3: "complex integers", 4: "complex numbers", 101: "4-bit integers"}
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_IMOD_STAMP, _IMOD_OFFSET, _IMOD_SIGNED_BYTES = 1146047817, 152, 1
_LARGEST_SIDE = 1 << 28


@dataclass(frozen=True)
class MrcHeader:
    """What a reader needs to know of an MRC file.

    Attributes
    ----------
    path
        The file.
    n_images, ny, nx
        Sections, rows and columns, in the order of the file.
    mode, dtype
        MRC mode and the numpy type of a pixel, byte order included.
    byte_order
        ``"<"`` or ``">"``.
    data_offset
        Where the pixels begin, in bytes: behind the header and the extended header.
    voxel_size_A
        ``(x, y, z)``, cell over sampling as found: 0 where the header holds none, NaN where it holds NaN.
    axis_order
        Which axis, 1 = x, 2 = y, 3 = z, the columns, rows and sections run along.
    start
        Index of the first column, row and section.
    origin_A
        The header's origin ``(x, y, z)``.
    """

    path: Path
    n_images: int
    ny: int
    nx: int
    mode: int
    dtype: np.dtype[Any]
    byte_order: Literal["<", ">"]
    data_offset: int
    voxel_size_A: tuple[float, float, float]
    axis_order: tuple[int, int, int]
    start: tuple[int, int, int]
    origin_A: tuple[float, float, float]

    @property
    def pixel_size_A(self) -> float:
        """Side of a pixel along x, as found."""
        return self.voxel_size_A[0]

    @property
    def image_bytes(self) -> int:
        """Size of one section."""
        return self.ny * self.nx * self.dtype.itemsize


def read_header(path: PathLike) -> MrcHeader:
    """Read and check the header of an MRC file; 1024 bytes are read, whatever the size of the file.

    Raises
    ------
    InputError
        Where the file is missing, compressed, not MRC, of a mode without real pixels, or shorter than its header says.
    ResourceError
        Where the file cannot be opened.
    """
    with reading(path) as file_path, file_path.open("rb", buffering=0) as file:
        raw = file.read(HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    _refuse_compressed(raw, file_path)
    if len(raw) < HEADER_BYTES:
        raise InputError(
            "too short for an MRC header",
            expected=f"{HEADER_BYTES} bytes",
            found=f"{len(raw)} bytes",
            remedy="Copy the file again",
            path=file_path,
        )
    header = _parse(raw, file_path)
    needed = header.data_offset + header.n_images * header.image_bytes
    if size < needed:
        raise InputError(
            f"truncated: the header announces {header.n_images} images of {header.ny} x {header.nx} pixels",
            expected=f"{needed} bytes",
            found=f"{size} bytes",
            remedy="Copy the file again, or extract the particles again",
            path=file_path,
        )
    return header


def _refuse_compressed(raw: bytes, path: Path) -> None:
    for magic, (name, command) in _COMPRESSED.items():
        if raw.startswith(magic):
            raise InputError(
                f"compressed with {name}", remedy=f"Unpack it first with `{command} {path.name}`", path=path
            )


def _parse(raw: bytes, path: Path) -> MrcHeader:
    byte_order = _byte_order(raw, path)
    fields = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(byte_order))[0]
    mode = int(fields["mode"])
    if mode not in _DTYPES:
        raise InputError(
            f"MRC mode {mode} ({_REFUSED_MODES.get(mode, 'unknown')}) holds no real pixels that can be read",
            expected="mode 0, 1, 2, 6 or 12",
            remedy="Convert it to mode 2 (float32), for instance with `newstack -mode 2`",
            path=path,
        )
    kind = "u1" if mode == 0 and _has_unsigned_bytes(raw, byte_order) else _DTYPES[mode]
    cell, origin = fields["cella"].item(), fields["origin"].item()
    sampling = (int(fields["mx"]), int(fields["my"]), int(fields["mz"]))
    sizes = [length / count if count > 0 else 0.0 for length, count in zip(cell, sampling)]
    return MrcHeader(
        path=path,
        n_images=int(fields["nz"]),
        ny=int(fields["ny"]),
        nx=int(fields["nx"]),
        mode=mode,
        dtype=np.dtype(kind).newbyteorder(byte_order),
        byte_order=byte_order,
        data_offset=HEADER_BYTES + max(0, int(fields["nsymbt"])),
        voxel_size_A=(sizes[0], sizes[1], sizes[2]),
        axis_order=(int(fields["mapc"]), int(fields["mapr"]), int(fields["maps"])),
        start=(int(fields["nxstart"]), int(fields["nystart"]), int(fields["nzstart"])),
        origin_A=(origin[0], origin[1], origin[2]),
    )


def _byte_order(raw: bytes, path: Path) -> Literal["<", ">"]:
    """Tell the byte order from the dimensions and the mode: older programs leave the machine stamp empty."""
    orders: tuple[Literal["<", ">"], Literal["<", ">"]] = (">", "<") if raw[212:214] == b"\x11\x11" else ("<", ">")
    for order in orders:
        columns, rows, sections, mode = np.frombuffer(raw[:16], f"{order}i4").tolist()
        sides = (columns, rows, sections)
        if all(0 < side < _LARGEST_SIDE for side in sides) and (mode in _DTYPES or mode in _REFUSED_MODES):
            return order
    columns, rows, sections, mode = np.frombuffer(raw[:16], "<i4").tolist()
    raise InputError(
        "not an MRC file, or its header is damaged",
        found=f"{columns} x {rows} x {sections} pixels of mode {mode}",
        remedy="Check that this is an .mrc or .mrcs file; copy it again if it is",
        path=path,
    )


def _has_unsigned_bytes(raw: bytes, byte_order: str) -> bool:
    """Tell whether IMOD wrote mode 0 as 0–255: its stamp is there and its flag for signed bytes is not."""
    stamp, flags = np.frombuffer(raw[_IMOD_OFFSET : _IMOD_OFFSET + 8], f"{byte_order}i4").tolist()
    return stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED_BYTES


@dataclass(frozen=True)
class Statistics:
    """Minimum, maximum, mean and standard deviation of the densities, for a header."""

    minimum: float
    maximum: float
    mean: float
    sigma: float


def new_header(
    shape: tuple[int, int, int],
    pixel_size_A: float,
    statistics: Statistics,
    *,
    is_stack: bool,
    mode: int = 2,
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: str = "",
) -> NDArray[Any]:
    """Make a little-endian MRC2014 header for ``shape = (sections, rows, columns)``.

    A stack of images has space group 0 and one section per cell, a map has space group 1. The label is cut to
    80 ASCII characters and begins with the version of vitreous.
    """
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    sections, rows, columns = shape
    sampling = (columns, rows, 1 if is_stack else sections)
    header["nx"], header["ny"], header["nz"] = columns, rows, sections
    header["mx"], header["my"], header["mz"] = sampling
    header["mode"] = mode
    header["cella"] = tuple(count * pixel_size_A for count in sampling)
    header["cellb"] = (90.0, 90.0, 90.0)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"] = statistics.minimum, statistics.maximum
    header["dmean"], header["rms"] = statistics.mean, statistics.sigma
    header["ispg"] = IMAGE_STACK_SPACEGROUP if is_stack else VOLUME_SPACEGROUP
    header["nversion"] = 20141
    header["origin"] = origin_A
    header["map"] = MAP_ID
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nlabl"] = 1
    header["label"][0] = f"vitreous {__version__} {label}".strip().encode("ascii", "replace")[:80]
    return header
