"""Cells of equal area on the sphere, in which directions are counted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
