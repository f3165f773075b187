"""RELION's optics groups: one row of microscope values for many particles.

Files before RELION 3.1 have no such table; one is made for them from the columns of the particles, so that the rest
of the program (and what it writes) knows one form only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.io.listing import NamedColumns

Columns = Mapping[str, NDArray[Any]]

_MICROSCOPE = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_PIXEL_SIZES = (0.01, 100.0)


@dataclass(frozen=True)
class OpticsGroups:
    """The optics table and the group of each particle.

    Attributes
    ----------
    table
        Columns of the optics table, one row per group.
    group
        Row of ``table`` of each particle.
    path
        The file, for messages.
    """

    table: Columns
    group: NDArray[np.int64]
    path: Path

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each group."""
        return tuple(str(name) for name in self.table["rlnOpticsGroupName"].tolist())

    def in_use(self, label: str) -> NDArray[Any]:
        """Return the values of a column for the groups that have particles."""
        return self.table[label][np.unique(self.group)]

    def common_number(self, label: str, *, what: str, remedy: str) -> float | None:
        """Return the one value that all groups in use share; None where the column is absent.

        Raises
        ------
        InputError
            Where groups differ or the value is not a finite number.
        """
        if label not in self.table:
            return None
        rows = np.unique(self.group)
        columns = NamedColumns(self.path, {label: self.table[label][rows]}, np.array(self.names)[rows])
        values = columns.numbers(label)
        if np.ptp(values) > 1e-4 * abs(values[0]):
            found = ", ".join(f"{value:g}" for value in np.unique(values)[:4])
            raise InputError(f"the optics groups differ in {what}", found=found, remedy=remedy, path=self.path)
        return float(values[0])


def given_groups(optics: Columns, particles: NamedColumns) -> OpticsGroups:
    """Match particles to the rows of the optics table that the file has.

    Raises
    ------
    InputError
        Where the table has no rows, names a group twice, or lacks the group of a particle.
    """
    path = particles.path
    numbers = optics.get("rlnOpticsGroup")
    if numbers is None or len(numbers) == 0:
        raise InputError("data_optics has no optics groups", remedy="Write the STAR file again", path=path)
    known = NamedColumns(path, optics, np.array([f"optics group row {row + 1}" for row in range(len(numbers))]))
    values = known.numbers("rlnOpticsGroup")
    order = np.argsort(values)
    ordered = values[order]
    if len(np.unique(values)) != len(values):
        twice = ordered[1:][np.diff(ordered) == 0][0]
        raise InputError(f"optics group {twice:g} is defined twice", remedy="Remove or renumber one", path=path)
    wanted = particles.numbers("rlnOpticsGroup")
    place = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    particles.require(
        ordered[place] == wanted,
        f"the optics group is not in data_optics, which has {', '.join(f'{value:g}' for value in ordered[:8])}",
        "rlnOpticsGroup",
        "Add the group to data_optics or correct rlnOpticsGroup",
    )
    table = dict(optics)
    if "rlnOpticsGroupName" not in table:
        table["rlnOpticsGroupName"] = _texts(f"opticsGroup{value:g}" for value in values)
    return OpticsGroups(table, order[place], path)


def made_groups(particles: NamedColumns) -> OpticsGroups:
    """Make groups from the particles' own microscope columns: one per distinct combination of values."""
    labels = [label for label in (*_MICROSCOPE, "rlnBeamTiltClass") if label in particles]
    size = _pixel_sizes(particles)
    values = [particles.numbers(label) for label in labels] + ([] if size is None else [size])
    if values:
        rows, group = np.unique(np.stack(values, 1), axis=0, return_inverse=True)
    else:
        rows, group = np.empty((1, 0)), np.zeros(len(particles), dtype=np.int64)
    table: dict[str, NDArray[Any]] = {
        "rlnOpticsGroup": np.arange(1, len(rows) + 1),
        "rlnOpticsGroupName": _texts(f"opticsGroup{row + 1}" for row in range(len(rows))),
    }
    names = [*labels, *([] if size is None else ["rlnImagePixelSize"])]
    table |= {name: rows[:, column] for column, name in enumerate(names)}
    table["rlnImageDimensionality"] = np.full(len(rows), 2)
    return OpticsGroups(table, group.reshape(-1).astype(np.int64), particles.path)


def _pixel_sizes(particles: NamedColumns) -> NDArray[np.float64] | None:
    """Pixel sizes as RELION 2 and 3.0 state them: detector pixel (µm) over magnification, or in Å."""
    if "rlnMagnification" in particles and "rlnDetectorPixelSize" in particles:
        magnification = particles.numbers("rlnMagnification")
        particles.require(
            magnification > 0, "rlnMagnification is not positive", "rlnMagnification", "Correct rlnMagnification"
        )
        # Rounded, because quotients of printed numbers would make several groups of one pixel size.
        return np.round(particles.numbers("rlnDetectorPixelSize") * 1e4 / magnification, 6)
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        if label in particles:
            return particles.numbers(label)
    return None


def common_pixel_size_A(groups: OpticsGroups) -> float | None:
    """Return the pixel size of all images; None where the file has none.

    Raises
    ------
    InputError
        Where groups differ, or the size is not positive or not credible.
    """
    size = groups.common_number(
        "rlnImagePixelSize",
        what="pixel size",
        remedy="Split the STAR file by optics group, or extract all particles with one pixel size",
    )
    return None if size is None else checked_pixel_size_A(size, groups.path)


def stated_pixel_size_A(groups: OpticsGroups) -> float | None:
    """Return the pixel size that the file states; None where it is absent or impossible, as a given one replaces it.

    Raises
    ------
    InputError
        Where groups differ: one given size cannot be that of all.
    """
    if "rlnImagePixelSize" not in groups.table:
        return None
    sizes = groups.in_use("rlnImagePixelSize")
    if sizes.dtype.kind not in "iuf" or not ((sizes >= _PIXEL_SIZES[0]) & (sizes <= _PIXEL_SIZES[1])).all():
        return None
    return common_pixel_size_A(groups)


def checked_pixel_size_A(size: float, path: Path) -> float:
    """Return a pixel size that is positive and credible, else raise an InputError."""
    low, high = _PIXEL_SIZES
    if not low <= size <= high:
        raise InputError(
            "impossible pixel size",
            expected=f"{low:g} to {high:g} Å",
            found=f"{size:g} Å",
            remedy="Correct it in the file, or give --pixel-size-A",
            path=path,
        )
    return size


def _texts(values: Any) -> NDArray[Any]:
    return np.array(list(values), dtype=np.dtypes.StringDType())
