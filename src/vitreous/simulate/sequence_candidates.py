"""Pairs of sequences worth aligning: those that share words on one diagonal (proteins) or a long word (RNA, DNA)."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from vitreous.simulate.homology_kernels import seed_scores_kernel
from vitreous.simulate.substitution import NUCLEIC, PROTEIN, Scoring

_SIMILAR_FROM = 11
_DISTANCE = 40
_DROP = 16
"""Threshold of similar words, distance of two words and drop of an extension of BLASTP (Altschul et al. 1997)."""

_NUCLEIC_WORD = 8


def candidates(
    sequences: Sequence[NDArray[np.uint8]], n_queries: int | None, scoring: Scoring, seed_score: int
) -> Iterator[NDArray[np.int64]]:
    """Yield for every query the sequences that may be its homologues.

    Parameters
    ----------
    sequences
        Codes of chains of one kind.
    n_queries
        So many first sequences are queries, compared with all others; None compares every pair once.
    scoring
        ``PROTEIN`` or ``NUCLEIC``.
    seed_score
        Ungapped score that makes a pair of proteins a candidate.
    """
    if not sequences or n_queries == len(sequences):
        return iter(())
    if scoring is PROTEIN:
        return _protein_candidates(sequences, n_queries, seed_score)
    return _nucleic_candidates(sequences, n_queries)


def _protein_candidates(
    sequences: Sequence[NDArray[np.uint8]], n_queries: int | None, seed_score: int
) -> Iterator[NDArray[np.int64]]:
    letters, owner, starts = _concatenate(sequences)
    index, similar = _word_index(letters), similar_words()
    limits = (_DISTANCE, _DROP, PROTEIN.alphabet)
    for i in range(len(sequences) if n_queries is None else n_queries):
        best = np.zeros(len(sequences), np.int32)
        first = starts[i + 1 if n_queries is None else n_queries]
        seed_scores_kernel(sequences[i], first, similar, (letters, owner), index, PROTEIN.matrix, limits, best)
        yield np.flatnonzero(best >= seed_score)


def _nucleic_candidates(sequences: Sequence[NDArray[np.uint8]], n_queries: int | None) -> Iterator[NDArray[np.int64]]:
    words = [_words(sequence) for sequence in sequences]
    row = np.repeat(np.arange(len(sequences)), [len(found) for found in words])
    has = coo_array(
        (np.ones(len(row), np.int32), (row, np.concatenate(words))),
        shape=(len(sequences), NUCLEIC.alphabet**_NUCLEIC_WORD),
    ).tocsr()
    for i in range(len(sequences) if n_queries is None else n_queries):
        shared = (has @ has[[i]].T).tocoo().coords[0]
        yield np.sort(shared[shared >= (i + 1 if n_queries is None else n_queries)]).astype(np.int64)


def _words(sequence: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of the distinct words of a nucleotide sequence."""
    if len(sequence) < _NUCLEIC_WORD:
        return np.zeros(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(sequence, _NUCLEIC_WORD)
    return np.unique(_word_numbers(windows[(windows < NUCLEIC.alphabet).all(1)], NUCLEIC.alphabet))


def _word_numbers(words: NDArray[np.uint8], alphabet: int) -> NDArray[np.int64]:
    return words.astype(np.int64) @ alphabet ** np.arange(words.shape[1] - 1, -1, -1)


def _concatenate(
    sequences: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
    """Join protein sequences, an unknown residue after each; return letters, their owners and starts ``[n + 1]``."""
    separator = np.array([PROTEIN.alphabet], np.uint8)
    letters = np.concatenate([part for sequence in sequences for part in (sequence, separator)])
    lengths = [len(sequence) + 1 for sequence in sequences]
    owner = np.repeat(np.arange(len(sequences), dtype=np.int32), lengths)
    return letters, owner, np.cumsum([0, *lengths], dtype=np.int64)


def _word_index(letters: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return offsets ``[8001]`` and, word after word, the places where it stands, ascending."""
    windows = np.lib.stride_tricks.sliding_window_view(letters, 3)
    places = np.flatnonzero((windows < PROTEIN.alphabet).all(1))
    words = _word_numbers(windows[places], PROTEIN.alphabet)
    order = np.argsort(words, kind="stable")
    return np.searchsorted(words[order], np.arange(PROTEIN.alphabet**3 + 1)), places[order].astype(np.int32)


def similar_words() -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return offsets ``[8001]`` and, for every word of three amino acids, those that score at least 11 with it."""
    n = PROTEIN.alphabet
    known = PROTEIN.matrix[:n, :n].astype(np.int8)
    pairs = (known[:, None, :, None] + known[None, :, None, :]).reshape(n * n, n * n)
    found = [
        np.flatnonzero(row >= _SIMILAR_FROM).astype(np.int32)
        for pair in pairs
        for row in (pair[None, :, None] + known[:, None, :]).reshape(n, n**3)
    ]
    return np.cumsum([0, *map(len, found)], dtype=np.int64), np.concatenate(found)
