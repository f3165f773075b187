"""A corpus of structures, one point per residue, split by sequence family."""

from dataclasses import dataclass
from typing import Any, Literal, final

import gemmi
import numpy as np
from numpy.typing import NDArray

from vitreous.io.corpus import read_corpus_arrays, write_corpus_arrays
from vitreous.typing import PathLike

AMINO_ACIDS = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
)
NUCLEOTIDES = ("A", "C", "G", "U", "DA", "DC", "DG", "DT")
RESIDUE_NAMES = (*AMINO_ACIDS, *NUCLEOTIDES, "UNK")
"""The residues that a corpus tells apart; a modified residue counts as its parent."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""Names of the values 0, 1 and 2 of ``Corpus.split``."""

_WATER_DA = 18.015
_MEAN_AMINO_ACID_DA = 111.0
"""Mean residue of proteins; stands for unknown residues."""


@final
@dataclass(frozen=True)
class Corpus:
    """Structures as points, chain after chain.

    Attributes
    ----------
    ids
        Names of the structures ``[s]``.
    structure_offsets
        ``[s + 1]``: structure i has the chains ``structure_offsets[i]`` to ``structure_offsets[i + 1]``.
    chain_offsets
        ``[c + 1]``: chain j has the residues ``chain_offsets[j]`` to ``chain_offsets[j + 1]``.
    points_A
        Cα or P of every residue ``[r, 3]``, ``(x, y, z)`` in Å, of the whole biological assembly: every copy of a
        chain is a chain. The centre of mass of every structure is the origin.
    residues
        Index into ``residue_names`` ``[r]``.
    residue_names
        Residue names of the Chemical Component Dictionary.
    split
        ``[s]``: 0 train, 1 validation, 2 test.
    family
        ``[s]``: structures of one number are connected by homologous chains and lie in one split.
    self_overlap
        Largest overlap of the low-passed structure with itself under a rotation of more than 30° ``[s]``, 1 for
        symmetric ones (see :mod:`vitreous.simulate.self_overlap`).
    """

    ids: NDArray[Any]
    structure_offsets: NDArray[np.int64]
    chain_offsets: NDArray[np.int64]
    points_A: NDArray[np.float32]
    residues: NDArray[np.uint8]
    residue_names: NDArray[Any]
    split: NDArray[np.int8]
    family: NDArray[np.int32]
    self_overlap: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, i: int) -> slice:
        """Return the residues of structure ``i`` as rows of ``points_A`` and ``residues``."""
        first, last = self.structure_offsets[i], self.structure_offsets[i + 1]
        return slice(int(self.chain_offsets[first]), int(self.chain_offsets[last]))

    def points(self, i: int) -> NDArray[np.float32]:
        """Return the points ``[n, 3]`` of structure ``i`` in Å."""
        return self.points_A[self.rows(i)]

    def chains(self, i: int) -> list[NDArray[np.float32]]:
        """Return the points of every chain of structure ``i``."""
        first, last = self.structure_offsets[i], self.structure_offsets[i + 1]
        return np.split(self.points(i), (self.chain_offsets[first + 1 : last] - self.chain_offsets[first]).tolist())

    def masses_Da(self, i: int) -> NDArray[np.float32]:
        """Return the mass of every residue of structure ``i``, the weight of its point in a density."""
        return residue_masses_Da(self.residue_names)[self.residues[self.rows(i)]]

    def subset(self, split: Split) -> NDArray[np.int64]:
        """Return the structures of a split as indices."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def save(self, path: PathLike) -> None:
        """Write an ``.npz`` file, whole or not at all."""
        write_corpus_arrays(path, self.__dict__)

    @classmethod
    def load(cls, path: PathLike) -> "Corpus":
        """Read a file of :meth:`save`.

        Raises
        ------
        InputError
            Where the file is not a corpus or its arrays contradict each other.
        """
        return cls(**read_corpus_arrays(path))


def residue_masses_Da(names: NDArray[Any]) -> NDArray[np.float32]:
    """Mass of residues in a chain, hydrogens included: about 111 Da for amino acids, 320 Da for nucleotides.

    The weights are those of the Chemical Component Dictionary (as tabulated in gemmi) less one water per bond. The
    scattering power of biological matter is nearly proportional to its mass.
    """
    weights = []
    for name in names:
        known = gemmi.find_tabulated_residue(str(name))
        plain = known.found() and known.one_letter_code.strip() and known.name != "UNK"
        weights.append(known.weight - _WATER_DA if plain else _MEAN_AMINO_ACID_DA)
    return np.array(weights, dtype=np.float32)
