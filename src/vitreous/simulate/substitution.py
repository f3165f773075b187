"""Substitution scores of amino acids and nucleotides, and the statistics of their local alignments."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

_BLOSUM62 = """
 4 -1 -2 -2  0 -1 -1  0 -2 -1 -1 -1 -1 -2 -1  1  0 -3 -2  0
-1  5  0 -2 -3  1  0 -2  0 -3 -2  2 -1 -3 -2 -1 -1 -3 -2 -3
-2  0  6  1 -3  0  0  0  1 -3 -3  0 -2 -3 -2  1  0 -4 -2 -3
-2 -2  1  6 -3  0  2 -1 -1 -3 -4 -1 -3 -3 -1  0 -1 -4 -3 -3
 0 -3 -3 -3  9 -3 -4 -3 -3 -1 -1 -3 -1 -2 -3 -1 -1 -2 -2 -1
-1  1  0  0 -3  5  2 -2  0 -3 -2  1  0 -3 -1  0 -1 -2 -1 -2
-1  0  0  2 -4  2  5 -2  0 -3 -3  1 -2 -3 -1  0 -1 -3 -2 -2
 0 -2  0 -1 -3 -2 -2  6 -2 -4 -4 -2 -3 -3 -2  0 -2 -2 -3 -3
-2  0  1 -1 -3  0  0 -2  8 -3 -3 -1 -2 -1 -2 -1 -2 -2  2 -3
-1 -3 -3 -3 -1 -3 -3 -4 -3  4  2 -3  1  0 -3 -2 -1 -3 -1  3
-1 -2 -3 -4 -1 -2 -3 -4 -3  2  4 -2  2  0 -3 -2 -1 -2 -1  1
-1  2  0 -1 -3  1  1 -2 -1 -3 -2  5 -1 -3 -1  0 -1 -3 -2 -2
-1 -1 -2 -3 -1  0 -2 -3 -2  1  2 -1  5  0 -2 -1 -1 -1 -1  1
-2 -3 -3 -3 -2 -3 -3 -3 -1  0  0 -3  0  6 -4 -2 -2  1  3 -1
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4  7 -1 -1 -4 -3 -2
 1 -1  1  0 -1  0  0  0 -1 -2 -2  0 -1 -2 -1  4  1 -3 -2 -2
 0 -1  0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1  1  5 -2 -2  0
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1  1 -4 -3 -2 11  2 -3
-2 -2 -2 -3 -2 -1 -2 -3  2 -1 -1 -2 -1  3 -3 -2 -2  2  7 -1
 0 -3 -3 -3 -1 -2 -2 -3 -3  3  1 -2  1 -1 -2 -2  0 -3 -1  4
"""
"""Henikoff and Henikoff 1992 (doi:10.1073/pnas.89.22.10915), the amino acids in the order of ``AMINO_ACIDS``."""


@final
@dataclass(frozen=True)
class Scoring:
    """Scores of a local alignment.

    Attributes
    ----------
    matrix
        ``[codes + 1, codes + 1]``; the last code is an unknown residue.
    gap_open, gap_extend
        A gap of n letters costs ``gap_open + n · gap_extend``.
    decay, prefactor
        λ and K of the chance scores: ``E = K m n exp(−λ S)`` (Karlin and Altschul 1990, doi:10.1073/pnas.87.6.2264;
        the values for gapped alignments are those of Altschul et al. 1997, doi:10.1093/nar/25.17.3389).
    """

    matrix: NDArray[np.int32]
    gap_open: int
    gap_extend: int
    decay: float
    prefactor: float

    @property
    def alphabet(self) -> int:
        """Number of known residues."""
        return len(self.matrix) - 1

    def expected_by_chance(self, score: int, letters: int, other_letters: int) -> float:
        """Return how many alignments of that score two unrelated texts of these lengths have."""
        return self.prefactor * letters * other_letters * math.exp(-self.decay * score)

    def least_score(self, expected: float, letters: int, other_letters: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores from which :meth:`expected_by_chance` is at most ``expected``."""
        return np.log(self.prefactor * letters * other_letters / expected) / self.decay


def _with_unknown(known: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.pad(known, (0, 1), constant_values=-1)


PROTEIN = Scoring(_with_unknown(np.array(_BLOSUM62.split(), np.int32).reshape(20, 20)), 11, 1, 0.267, 0.041)
NUCLEIC = Scoring(_with_unknown(9 * np.eye(4, dtype=np.int32) - 4), 10, 6, 0.163, 0.068)
