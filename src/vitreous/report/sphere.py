"""Viewing directions on the sphere: equal-area bins, density, Fourier coverage and the Mollweide projection.

The viewing direction of a particle is the beam seen from the particle: the third row of R, for RELION's angles
``(sin tilt cos rot, sin tilt sin rot, cos tilt)``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def viewing_directions(rot_deg: Array, tilt_deg: Array) -> Array:
    """Unit vectors ``[n, 3]``, ``(x, y, z)`` in the particle's frame, of RELION's first two angles."""
    rot, tilt = np.deg2rad(rot_deg), np.deg2rad(tilt_deg)
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=-1)


@dataclass(frozen=True)
class SphereBins:
    """Cells of exactly equal area on the sphere: rings about the z axis, cut into nearly square cells.

    Attributes
    ----------
    cells_of_ring
        Number of cells in each ring, from +z to −z.
    """

    cells_of_ring: NDArray[np.int64]

    @classmethod
    def build(cls, rings: int) -> "SphereBins":
        """Cut the sphere into ``rings`` rings, about ``4/π · rings²`` cells."""
        middle = (np.arange(rings) + 0.5) * np.pi / rings
        return cls(np.maximum(3, np.rint(2 * rings * np.sin(middle))).astype(np.int64))

    def __len__(self) -> int:
        return int(self.cells_of_ring.sum())

    @property
    def first_cell(self) -> NDArray[np.int64]:
        """Number of the first cell of each ring, and the number of cells at the end."""
        return np.concatenate([[0], np.cumsum(self.cells_of_ring)])

    @property
    def cosines(self) -> Array:
        """Cosine of the tilt at the borders of the rings; equal areas are equal steps of it (Archimedes)."""
        return 1 - 2 * self.first_cell / len(self)

    def index(self, directions: Array) -> NDArray[np.int64]:
        """Return the cell of every direction ``[n, 3]``."""
        ring = np.searchsorted(-self.cosines, -directions[:, 2], side="right") - 1
        ring = np.clip(ring, 0, len(self.cells_of_ring) - 1)
        turn = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi)) % 1.0
        cells = self.cells_of_ring[ring]
        return self.first_cell[ring] + np.minimum((turn * cells).astype(np.int64), cells - 1)

    def centres(self) -> Array:
        """Return the direction at the middle of each cell, ``[cells, 3]``."""
        middle = np.repeat((self.cosines[:-1] + self.cosines[1:]) / 2, self.cells_of_ring)
        within = np.arange(len(self)) - np.repeat(self.first_cell[:-1], self.cells_of_ring)
        rot = 2 * np.pi * (within + 0.5) / np.repeat(self.cells_of_ring, self.cells_of_ring)
        sine = np.sqrt(1 - middle**2)
        return np.stack([sine * np.cos(rot), sine * np.sin(rot), middle], axis=-1)


def relative_density(directions: Array, at: Array, width_deg: float, bins: SphereBins) -> Array:
    """Density of directions ``[n, 3]`` at the points ``at`` ``[m, 3]``, 1 where it is that of a uniform set.

    Directions are counted in equal-area bins and smoothed with a von Mises–Fisher kernel of standard deviation
    ``width_deg``.
    """
    centres = bins.centres().astype(np.float32)
    relative = np.bincount(bins.index(directions), minlength=len(bins)) * (len(bins) / len(directions))
    kappa = np.float32(1 / np.deg2rad(width_deg) ** 2)
    smooth = []
    for part in np.array_split(at.astype(np.float32), max(1, len(at) // 2000)):
        weight = np.exp(kappa * (part @ centres.T - 1))
        smooth.append((weight @ relative.astype(np.float32)) / weight.sum(axis=1))
    return np.concatenate(smooth).astype(np.float64)


def kernel_width_deg(n: int) -> float:
    """Width at which about 50 of ``n`` uniform directions share a kernel (15 % noise), between 3° and 15°."""
    return float(np.clip(np.rad2deg(np.sqrt(50 / n)), 3, 15))


def fourier_coverage(directions: Array, bins: SphereBins, half_width_deg: float = 5.0) -> Array:
    """How often each direction of Fourier space lies in a particle's slice, relative to the mean over the sphere.

    A slice is perpendicular to its viewing direction, so a Fourier direction within ``half_width_deg`` of the
    perpendicular plane counts as sampled. One value per cell of ``bins``.
    """
    centres = bins.centres().astype(np.float32)
    counts = np.bincount(bins.index(directions), minlength=len(bins)).astype(np.float32)
    inside = np.abs(centres @ centres.T) < np.sin(np.deg2rad(half_width_deg))
    return (inside @ counts) / (inside.mean(axis=1) * counts.sum())


def mollweide_grid(height: int) -> tuple[Array, Array, Array]:
    """Directions on a Mollweide map ``height`` pixels high and twice as wide.

    Returns
    -------
    x, y
        Pixel centres, in −2 … 2 (rot −180° … 180°) and −1 … 1 (tilt 180° … 0°: +z is on top).
    directions
        ``[height, 2 · height, 3]``, NaN outside the ellipse.
    """
    x = 2 * ((np.arange(2 * height) + 0.5) / height - 1)
    y = 2 * (np.arange(height) + 0.5) / height - 1
    auxiliary = np.arcsin(y)[:, None]
    rot = np.pi * x[None, :] / (2 * np.cos(auxiliary))
    latitude = np.arcsin((2 * auxiliary + np.sin(2 * auxiliary)) / np.pi)
    rot = np.where(np.abs(rot) <= np.pi, rot, np.nan)
    tilt = np.where(np.isnan(rot), np.nan, np.pi / 2 - latitude)
    return x, y, viewing_directions(np.rad2deg(rot), np.rad2deg(tilt))


def mollweide(rot_deg: Array, tilt_deg: Array) -> tuple[Array, Array]:
    """Project directions: ``x`` in −2 … 2, ``y`` in −1 … 1."""
    table = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    latitude = np.arcsin(np.clip((2 * table + np.sin(2 * table)) / np.pi, -1, 1))
    auxiliary = np.interp(np.pi / 2 - np.deg2rad(tilt_deg), latitude, table)
    return 2 * np.asarray(rot_deg) / 180 * np.cos(auxiliary), np.sin(auxiliary)
