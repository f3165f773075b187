"""One structure as it passes through curation: a point per residue, chain after chain."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vitreous.simulate.corpus import RESIDUE_NAMES, residue_masses_Da

UNKNOWN_CODE = RESIDUE_NAMES.index("UNK")
_MASSES_DA = residue_masses_Da(np.array(RESIDUE_NAMES))


@final
@dataclass(frozen=True)
class Trace:
    """Points of one structure.

    Attributes
    ----------
    name
        Identifier of the structure.
    xyz_A
        Cα or P of every residue ``[r, 3]`` in Å.
    residues
        Index into ``RESIDUE_NAMES`` ``[r]``.
    offsets
        ``[c + 1]``: chain j has the rows ``offsets[j]`` to ``offsets[j + 1]``.
    """

    name: str
    xyz_A: NDArray[np.float64]
    residues: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of_chains(cls, name: str, chains: list[tuple[NDArray[np.float64], NDArray[np.uint8]]]) -> "Trace":
        """Join the (points, residues) of chains; empty ones are left out."""
        kept = [(xyz, residues) for xyz, residues in chains if len(residues)]
        xyz_A = np.concatenate([np.zeros((0, 3)), *(xyz for xyz, _ in kept)])
        residues = np.concatenate([np.zeros(0, np.uint8), *(residues for _, residues in kept)]).astype(np.uint8)
        lengths = np.array([0, *(len(residues) for _, residues in kept)], np.int64)
        return cls(name, xyz_A, residues, np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.residues)

    @property
    def chain_of_residue(self) -> NDArray[np.int64]:
        """Index of the chain of every residue ``[r]``."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def sequences(self) -> list[NDArray[np.uint8]]:
        """Residues of every chain."""
        return np.split(self.residues, self.offsets[1:-1].tolist()) if len(self) else []

    def keep_chains(self, kept: NDArray[np.bool_]) -> "Trace":
        """Return the chains where ``kept [c]`` is true."""
        rows = np.repeat(kept, np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[kept])]).astype(np.int64)
        return Trace(self.name, self.xyz_A[rows], self.residues[rows], offsets)

    def centred(self) -> "Trace":
        """Return the same points about their centre of mass."""
        mass = _MASSES_DA[self.residues].astype(np.float64)
        centre = mass @ self.xyz_A / mass.sum()
        return Trace(self.name, self.xyz_A - centre, self.residues, self.offsets)
