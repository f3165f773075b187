"""Maps in MRC and CCP4 files."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.atomic import atomic_path
from vitreous.io.mrc import MrcHeader, Statistics, new_header, read_header
from vitreous.typing import PathLike

_VOXEL_TOLERANCE = 1e-3


def read_map(path: PathLike) -> Volume:
    """Read a cubic map as float32, axes brought to ``[z, y, x]``.

    The position of voxel (0, 0, 0) is the header's origin or, where that is zero, the start indices times the voxel
    size: MRC2014 has both, and writers use one of them.

    Raises
    ------
    InputError
        Where the file is no readable MRC map (see :func:`vitreous.io.mrc.read_header`), is not cubic, has no voxel
        size or voxels that are not cubes, or holds NaN or infinite values.
    """
    header = read_header(path)
    _refuse_unusable(header)
    with reading(path):
        shape = (header.n_images, header.ny, header.nx)
        count = math.prod(shape)
        values = np.fromfile(path, header.dtype, count, offset=header.data_offset).reshape(shape)
    # The file's axes, slowest first, are named by (maps, mapr, mapc); ours are (z, y, x) = (3, 2, 1).
    files_axes = header.axis_order[::-1]
    values = values.transpose([files_axes.index(axis) for axis in (3, 2, 1)]).astype(np.float32, order="C")
    if not np.isfinite(values).all():
        raise InputError("the map holds NaN or infinite values", remedy="Make the map again", path=path)
    return Volume(torch.from_numpy(values), header.voxel_size_A[0], _position(header))


def _position(header: MrcHeader) -> tuple[float, float, float]:
    if any(header.origin_A) and all(map(math.isfinite, header.origin_A)):
        return header.origin_A
    starts = (header.start[header.axis_order.index(axis)] for axis in (1, 2, 3))
    x, y, z = (start * size for start, size in zip(starts, header.voxel_size_A))
    return (x, y, z)


def _refuse_unusable(header: MrcHeader) -> None:
    sides = (header.n_images, header.ny, header.nx)
    if len(set(sides)) != 1:
        raise InputError(
            "the map is not cubic",
            expected="three equal sides",
            found=" x ".join(map(str, sides[::-1])),
            remedy="Pad or crop it to a cube, for instance with `relion_image_handler --new_box`",
            path=header.path,
        )
    if sorted(header.axis_order) != [1, 2, 3]:
        raise InputError(
            "the header's axis order is damaged",
            expected="1, 2 and 3 in some order",
            found=header.axis_order,
            remedy="Repair MAPC, MAPR and MAPS, for instance with mrcfile",
            path=header.path,
        )
    sizes = header.voxel_size_A
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise InputError(
            "the header holds no voxel size",
            found=f"{sizes[0]:g} x {sizes[1]:g} x {sizes[2]:g} Å",
            remedy="Set it, for instance with `relion_image_handler --force_header_angpix`",
            path=header.path,
        )
    if max(sizes) - min(sizes) > _VOXEL_TOLERANCE * max(sizes):
        raise InputError(
            "the voxels are not cubes",
            found=f"{sizes[0]:g} x {sizes[1]:g} x {sizes[2]:g} Å",
            remedy="Resample the map on a cubic grid",
            path=header.path,
        )


def write_map(path: PathLike, volume: Volume, label: str = "") -> None:
    """Write a map as MRC mode 2, whole or not at all.

    ``label`` follows the version of vitreous in the header's first label. A map without positive voxel size, or with
    values that are not finite, raises ValueError: a map that no program can place is never written.
    """
    values: NDArray[np.float32] = volume.values.detach().cpu().to(torch.float32).contiguous().numpy()
    if not np.isfinite(values).all() or not volume.voxel_size_A > 0:
        message = f"refusing to write {path}: values must be finite and the voxel size positive"
        raise ValueError(message)
    sections, rows, columns = values.shape
    statistics = Statistics(
        float(values.min()), float(values.max()), float(values.mean(dtype=np.float64)), float(values.std(dtype=float))
    )
    header = new_header(
        (sections, rows, columns),
        volume.voxel_size_A,
        statistics,
        is_stack=False,
        origin_A=volume.origin_A,
        label=label,
    )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        file.write(values.astype("<f4", copy=False).data)
