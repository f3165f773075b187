"""Which chains are homologous: local alignments with a significance, an identity and a coverage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vitreous.errors import ConfigError
from vitreous.simulate.homology_kernels import LANES, align_kernel, best_scores_kernel
from vitreous.simulate.substitution import PROTEIN, Scoring


@dataclass(frozen=True)
class HomologyRule:
    """When two chains are homologous: their best local alignment is significant, identical and long enough."""

    max_identity: float = 0.3
    """Protein chains above this part of identical among aligned pairs are homologous."""

    max_nucleotide_identity: float = 0.6
    """The same for RNA and DNA, whose unrelated chains agree in a quarter of all places and more."""

    min_coverage: float = 0.5
    """Aligned pairs over the length of the shorter chain that count …"""

    min_aligned: int = 80
    """… or so many aligned pairs, a shared domain."""

    max_expected: float = 1e-6
    """Alignments as good that unrelated chains of the same lengths have by chance."""

    min_chain: int = 20
    """Known residues that a chain must have to be compared."""

    seed_score: int = 38
    """Ungapped score from which two protein chains are aligned; lower is slower and misses less."""

    def __post_init__(self) -> None:
        """Refuse parts that are none."""
        for name in ("max_identity", "max_nucleotide_identity", "min_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is not a part of one", found=getattr(self, name), remedy="Give 0 to 1")


@final
@dataclass(frozen=True)
class Alignment:
    """Best local alignment of two chains.

    Attributes
    ----------
    score
        Substitution scores less gaps.
    identical, aligned
        Pairs of equal residues, and all pairs.
    lengths
        Of both chains.
    """

    score: int
    identical: int
    aligned: int
    lengths: tuple[int, int]

    @property
    def identity(self) -> float:
        """Identical over aligned pairs."""
        return self.identical / max(self.aligned, 1)

    def shows_homology(self, rule: HomologyRule, scoring: Scoring = PROTEIN) -> bool:
        """Tell whether the chains are homologous."""
        limit = rule.max_identity if scoring is PROTEIN else rule.max_nucleotide_identity
        enough = min(rule.min_coverage * min(self.lengths), rule.min_aligned)
        expected = scoring.expected_by_chance(self.score, *self.lengths)
        return self.identity > limit and self.aligned >= enough and expected <= rule.max_expected


def align(a: NDArray[np.uint8], b: NDArray[np.uint8], scoring: Scoring = PROTEIN) -> Alignment:
    """Align two chains of codes locally."""
    score, identical, aligned = align_kernel(a, b, scoring.matrix, scoring.gap_open, scoring.gap_extend)
    return Alignment(int(score), int(identical), int(aligned), (len(a), len(b)))


def best_scores(
    query: NDArray[np.uint8], others: Sequence[NDArray[np.uint8]], scoring: Scoring = PROTEIN
) -> NDArray[np.int64]:
    """Return the score of :func:`align` for many chains, about twenty times as fast."""
    order = np.argsort([len(other) for other in others])
    scores = np.zeros(len(others), np.int64)
    matrix = scoring.matrix.astype(np.float32)
    for start in range(0, len(others), LANES):
        batch = order[start : start + LANES]
        padded = np.full((LANES, max(len(others[k]) for k in batch.tolist())), scoring.alphabet, np.uint8)
        for lane, k in enumerate(batch.tolist()):
            padded[lane, : len(others[k])] = others[k]
        found = best_scores_kernel(query, padded, matrix, scoring.gap_open, scoring.gap_extend)
        scores[batch] = found[: len(batch)].astype(np.int64)
    return scores


def homologues(
    query: NDArray[np.uint8], others: Sequence[NDArray[np.uint8]], rule: HomologyRule, scoring: Scoring = PROTEIN
) -> NDArray[np.int64]:
    """Return which of ``others`` are homologous to ``query``, as indices."""
    lengths = np.array([len(other) for other in others], np.int64)
    significant = best_scores(query, others, scoring) >= scoring.least_score(rule.max_expected, len(query), lengths)
    found = [
        k
        for k in np.flatnonzero(significant).tolist()
        if align(query, others[k], scoring).shows_homology(rule, scoring)
    ]
    return np.array(found, np.int64)
