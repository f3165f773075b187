"""What a metadata file says of its particles, before any image is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.data import MetadataTable, Optics, Poses
from vitreous.errors import InputError
from vitreous.typing import Float, Int, Tensor


@dataclass(frozen=True)
class ImageNames:
    """Where each particle's image is, as the file spells it.

    Attributes
    ----------
    stacks
        Names of the stacks, each once.
    stack_index
        Index into ``stacks`` of each particle.
    slice_index
        0-based index of the image in its stack.
    """

    stacks: Sequence[str]
    stack_index: NDArray[np.int64]
    slice_index: NDArray[np.int64]

    @property
    def ids(self) -> NDArray[Any]:
        """Stable names ``index@stack`` with a 1-based index."""
        prefix = np.strings.add((self.slice_index + 1).astype(str), "@")
        return np.strings.add(prefix, np.array(self.stacks, dtype=str)[self.stack_index])


@dataclass(frozen=True)
class Listing:
    """A metadata file, read and checked.

    Attributes
    ----------
    path
        The file.
    names, ids
        Where the images are and what the particles are called.
    table
        The columns as read, with an optics table.
    pixel_size_A, box
        Of the image files; None where the file does not say.
    optics
        None where the file has no CTF.
    contrast_sign
        +1 or −1 per particle where the file says how the images are, else None.
    stated_pixel_size_A
        What the file itself says, where that is a credible size; ``pixel_size_A`` is another where one was given.
    poses, half_sets, ctf_premultiplied, notes
        As in :class:`vitreous.data.Particles`.
    """

    path: Path
    names: ImageNames
    ids: NDArray[Any]
    table: MetadataTable
    pixel_size_A: float | None = None
    stated_pixel_size_A: float | None = None
    box: int | None = None
    optics: Optics | None = None
    poses: Poses | None = None
    half_sets: Int[Tensor, " n"] | None = None
    ctf_premultiplied: bool = False
    contrast_sign: Float[Tensor, " n"] | None = None
    notes: Sequence[str] = ()

    @property
    def scale(self) -> float:
        """Å by the given pixel size over Å as the file counts them: what keeps a shift the same in pixels."""
        if self.pixel_size_A is None or self.stated_pixel_size_A is None:
            return 1.0
        return self.pixel_size_A / self.stated_pixel_size_A


@dataclass(frozen=True)
class NamedColumns:
    """Columns of a table whose rows have names, so that an error can say which particle it means.

    Attributes
    ----------
    path
        The file.
    columns
        The columns as read.
    ids
        One name per row.
    """

    path: Path
    columns: Mapping[str, NDArray[Any]]
    ids: NDArray[Any]

    def __contains__(self, label: str) -> bool:
        return label in self.columns

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, label: str, default: float | None = None) -> NDArray[np.float64]:
        """Return a column as finite float64, or ``default`` in every row where the column is absent.

        Raises
        ------
        InputError
            Where the column is absent and there is no default, or a value is not a finite number.
        """
        if label not in self.columns:
            if default is None:
                raise InputError(f"no column {label}", remedy=f"Add {label} to the file", path=self.path)
            return np.full(len(self), default)
        column = self.columns[label]
        if column.dtype.kind not in "iufb":
            column = np.array([_number_or_nan(str(value)) for value in column.tolist()])
        values = column.astype(np.float64)
        self.require(np.isfinite(values), f"{label} is not a finite number", label, "Correct or remove this particle")
        return values

    def require(self, good: NDArray[np.bool_], what: str, label: str, remedy: str) -> None:
        """Raise an InputError that names the first particle that is not good, and how many there are."""
        if good.all():
            return
        row = int(np.argmin(good))
        more = int((~good).sum()) - 1
        suffix = f", and in {more} more" if more else ""
        raise InputError(
            f"{what}{suffix}",
            found=self.columns[label][row],
            remedy=remedy,
            path=self.path,
            particle=str(self.ids[row]),
        )


def plain_stack_name(name: str) -> str:
    """Return a stack name without ``./`` and doubled slashes."""
    return str(PurePosixPath(name))


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def require_unique_ids(ids: NDArray[Any], names: ImageNames, path: Path) -> None:
    """Refuse a file that lists an image twice."""
    plain = np.array([plain_stack_name(name) for name in names.stacks])
    stack = np.unique(plain, return_inverse=True)[1][names.stack_index]
    keys = stack * (int(names.slice_index.max(initial=0)) + 1) + names.slice_index
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    if (counts > 1).any():
        row = int(first[counts > 1].min())
        raise InputError(
            "this image is listed more than once",
            found=f"{int((counts - 1).sum())} repeated rows in all",
            remedy="Remove duplicates, for instance with relion_star_handler --remove_duplicates 0",
            path=path,
            particle=str(ids[row]),
        )
