"""The optics table of a particle set, for STAR files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.data import Particles
from vitreous.io.locations import first_rows, image_locations

MICROSCOPE_COLUMNS = {
    "rlnVoltage": "voltage_kV",
    "rlnSphericalAberration": "cs_mm",
    "rlnAmplitudeContrast": "amplitude_contrast",
}

Columns = dict[str, NDArray[Any]]


def optics_table(particles: Particles) -> tuple[Columns, NDArray[np.int64]]:
    """Return the optics table and the group number of each particle.

    The table that the particles came with is kept; what it says of the microscope is brought in line with
    ``particles.optics``. Without one, there is a group for each distinct microscope.
    """
    table: Columns = {} if particles.table is None else dict(particles.table.optics)
    if "rlnOpticsGroup" in table:
        row = particles.optics.group.numpy()
    else:
        row = _distinct_microscopes(particles)
        numbers = np.arange(1, int(row.max(initial=0)) + 2)
        table = {"rlnOpticsGroup": numbers, "rlnOpticsGroupName": np.array([f"opticsGroup{k}" for k in numbers])}
    n_groups = len(table["rlnOpticsGroup"])
    first = first_rows(row, n_groups)
    for label, name in MICROSCOPE_COLUMNS.items():
        used = getattr(particles.optics, name).numpy()
        if label not in table or not states(table[label][row], used):
            table[label] = used[first]
    _add_scale(table, particles, n_groups)
    return table, np.asarray(table["rlnOpticsGroup"])[row].astype(np.int64)


def states(given: NDArray[Any] | None, used: NDArray[np.float64]) -> bool:
    """Tell whether a given column says what was used, so that it can stay as it is."""
    return given is not None and given.dtype.kind in "iuf" and bool(np.array_equal(given, used))


def _distinct_microscopes(particles: Particles) -> NDArray[np.int64]:
    values = [getattr(particles.optics, name).numpy() for name in MICROSCOPE_COLUMNS.values()]
    keys = np.stack([particles.optics.group.numpy().astype(np.float64), *values], 1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _add_scale(table: Columns, particles: Particles, n_groups: int) -> None:
    """Add pixel size and box of the image files, whatever the images were cropped to on reading."""
    locations = image_locations(particles.source)
    box = particles.box if locations is None else locations.box
    pixel_size_A = particles.pixel_size_A if locations is None else locations.pixel_size_A
    table["rlnImagePixelSize"] = np.full(n_groups, round(pixel_size_A, 6))
    table["rlnImageSize"] = np.full(n_groups, box)
    table["rlnImageDimensionality"] = np.full(n_groups, 2)
    if particles.ctf_premultiplied:
        table["rlnCtfDataAreCtfPremultiplied"] = np.ones(n_groups, dtype=np.int64)
