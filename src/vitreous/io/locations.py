"""Where the images of particles are on disk, and how a file written elsewhere has to name them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.data import ImageSource, Particles, SubsetSource
from vitreous.errors import InputError
from vitreous.io.image_names import factorize, split_ids
from vitreous.io.paths import find_stack
from vitreous.io.stacks import StackSource
from vitreous.typing import Tensor


@dataclass(frozen=True)
class ImageLocations:
    """Files and slices of images.

    Attributes
    ----------
    files
        Image files.
    file_index, slice_index
        For each particle the index into ``files`` and the section in it, from 0.
    box, pixel_size_A
        Of the files.
    contrast_sign
        −1 where the files are dark on bright.
    """

    files: Sequence[Path]
    file_index: NDArray[np.int64]
    slice_index: NDArray[np.int64]
    box: int
    pixel_size_A: float
    contrast_sign: float


def image_locations(source: ImageSource) -> ImageLocations | None:
    """Return where images are on disk, or None where they are not (images in memory)."""
    indices: Tensor | None = None
    while isinstance(source, SubsetSource):
        indices = source.indices if indices is None else source.indices[indices]
        source = source.parent
    if not isinstance(source, StackSource):
        return None
    rows = slice(None) if indices is None else indices.numpy()
    box = source._file_box
    return ImageLocations(
        files=[header.path for header in source._headers],
        file_index=source._file_index[rows],
        slice_index=source._slice_index[rows],
        box=box,
        pixel_size_A=source.pixel_size_A * source.box / box,
        contrast_sign=source._sign,
    )


def stack_names_from(folder: Path, particles: Particles) -> NDArray[Any]:
    """Return the name of each particle's stack as a file in ``folder`` has to spell it.

    The name in the particle's id is kept where it leads from ``folder`` to the same file (looked for as
    :func:`vitreous.io.paths.resolve_stacks` does); otherwise it is the absolute path.
    """
    _, stacks = split_ids(particles.ids)
    names, codes = factorize(stacks)
    locations = image_locations(particles.source)
    if locations is None:
        return np.array(names, dtype=str)[codes]
    first_row = first_rows(codes, len(names))
    spelled = []
    for name, row in zip(names, first_row):
        file = locations.files[locations.file_index[row]]
        found = find_stack(name, folder)
        spelled.append(name if found is not None and found.samefile(file) else absolute_name(file))
    return np.array(spelled, dtype=str)[codes]


def absolute_name(file: Path) -> str:
    """Return the absolute path of a file without ``..``, keeping the names of links where that is possible."""
    plain = Path(os.path.normpath(file.absolute()))
    # Behind a link to a folder, .. is another folder than the text suggests.
    return str(plain if plain.exists() and plain.samefile(file) else file.resolve())


def first_rows(codes: NDArray[np.int64], n_codes: int) -> NDArray[np.int64]:
    """Return the first row that has each code, 0 for codes that no row has."""
    first = np.zeros(n_codes, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def require_slices(particles: Particles) -> NDArray[np.int64]:
    """Return the 0-based slice of each particle, read from its id.

    Raises
    ------
    InputError
        Where an id is not ``index@stack``.
    """
    index, _ = split_ids(particles.ids)
    good = np.strings.isdigit(index)
    if not good.all():
        bad = str(particles.ids[int(np.argmin(good))])
        raise InputError(
            "a particle's name does not say where its image is",
            expected="index@stack",
            found=bad,
            remedy="Name particles as index@stack, index from 1",
        )
    return index.astype(np.int64) - 1
