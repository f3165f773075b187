"""Native kernels that compare sequences: seeds with ungapped extension, and local alignments with affine gaps."""

from typing import no_type_check

import numpy as np
from numba import njit

LANES = 16
"""Sequences that :func:`best_scores_kernel` aligns side by side."""


@njit(cache=True, nogil=True)
@no_type_check  # compiled code cannot carry the run-time checks of the tests
def seed_scores_kernel(query, first, words, texts, index, matrix, limits, best):
    """Raise ``best [sequences]`` to the best ungapped score of ``query`` with every later stretch of ``letters``.

    Two words that score at least the neighbourhood's threshold, on one diagonal and close together, start an
    extension in both directions that ends where the score has dropped too far (Altschul et al. 1997).

    Parameters
    ----------
    query
        Codes of one sequence ``[n]``.
    first
        Only positions of ``letters`` from here on are compared.
    words
        ``(offsets, neighbours)``: the words similar to every word.
    texts
        ``(letters, owner)``: codes of all sequences one after the other, with a separator after each, and the number
        of the sequence that every letter belongs to.
    index
        ``(offsets, positions)``: where every word stands in ``letters``, ascending.
    matrix
        Substitution scores.
    limits
        ``(distance, drop, alphabet)``: of two words, of an extension, and the number of codes that words are made of.
    best
        Changed in place.
    """
    letters, owner = texts
    word_offsets, neighbours = words
    index_offsets, positions = index
    distance, drop, alphabet = limits
    n = len(query)
    last = np.full(len(letters) + n, -1_000_000, np.int32)
    for i in range(n - 2):
        if query[i] >= alphabet or query[i + 1] >= alphabet or query[i + 2] >= alphabet:
            continue
        word = (query[i] * alphabet + query[i + 1]) * alphabet + query[i + 2]
        for k in range(word_offsets[word], word_offsets[word + 1]):
            similar = neighbours[k]
            for p in range(index_offsets[similar + 1] - 1, index_offsets[similar] - 1, -1):
                at = positions[p]
                if at < first:
                    break
                diagonal = at - i + n
                before = i - last[diagonal]
                if before < 3:
                    continue
                last[diagonal] = i
                if before > distance:
                    continue
                sequence = owner[at]
                score, end = _extend((query, i), texts, at, matrix, drop)
                last[diagonal] = end
                best[sequence] = max(best[sequence], score)


@njit(cache=True, nogil=True)
@no_type_check
def _extend(query_at, texts, at, matrix, drop):
    query, i = query_at
    letters, owner = texts
    sequence = owner[at]
    score = top = 0
    end = i
    for step in range(min(len(query) - i, len(letters) - at)):
        if owner[at + step] != sequence or top - score > drop:
            break
        score += matrix[query[i + step], letters[at + step]]
        if score > top:
            top, end = score, i + step
    score = top
    for step in range(1, min(i, at) + 1):
        if owner[at - step] != sequence or top - score > drop:
            break
        score += matrix[query[i - step], letters[at - step]]
        top = max(top, score)
    return top, end


@njit(cache=True, nogil=True)
@no_type_check
def align_kernel(a, b, matrix, gap_open, gap_extend):
    """Best local alignment of codes ``a`` and ``b``: ``(score, identical pairs, aligned pairs)``.

    Smith and Waterman 1981 with the recurrences of Gotoh 1982; a gap of n letters costs ``gap_open + n·gap_extend``.
    The counts travel with the scores, so that no traceback is kept.
    """
    n = len(b)
    h = np.zeros((n + 1, 3), np.int32)
    f = np.zeros((n + 1, 3), np.int32)
    f[:, 0] = -1_000_000
    best = np.zeros(3, np.int32)
    for i in range(len(a)):
        scores = matrix[a[i]]
        d0 = d1 = d2 = 0
        e0, e1, e2 = -1_000_000, 0, 0
        l0, l1, l2 = 0, 0, 0
        for j in range(1, n + 1):
            if h[j, 0] - gap_open > f[j, 0]:
                f[j, 0], f[j, 1], f[j, 2] = h[j, 0] - gap_open, h[j, 1], h[j, 2]
            f[j, 0] -= gap_extend
            if l0 - gap_open > e0:
                e0, e1, e2 = l0 - gap_open, l1, l2
            e0 -= gap_extend
            l0 = d0 + scores[b[j - 1]]
            l1 = d1 + (a[i] == b[j - 1])
            l2 = d2 + 1
            if e0 > l0:
                l0, l1, l2 = e0, e1, e2
            if f[j, 0] > l0:
                l0, l1, l2 = f[j, 0], f[j, 1], f[j, 2]
            if l0 <= 0:
                l0 = l1 = l2 = 0
            d0, d1, d2 = h[j, 0], h[j, 1], h[j, 2]
            h[j, 0], h[j, 1], h[j, 2] = l0, l1, l2
            if l0 > best[0]:
                best[0], best[1], best[2] = l0, l1, l2
    return best[0], best[1], best[2]


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def best_scores_kernel(query, others, matrix, gap_open, gap_extend):
    """Score of :func:`align_kernel` for ``others [LANES, length]``, padded with the last code.

    The innermost loop runs over the sequences, which the compiler turns into vector instructions (Rognes 2011,
    doi:10.1186/1471-2105-12-221). ``matrix`` is float32; scores are whole numbers and exact.
    """
    far = np.float32(-1e6)
    opening, extending = np.float32(gap_open), np.float32(gap_extend)
    score = np.zeros((len(query), LANES), np.float32)
    along = np.full((len(query), LANES), far)
    profile = np.zeros((len(matrix), LANES), np.float32)
    best = np.zeros(LANES, np.float32)
    down, diagonal, above = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    for j in range(others.shape[1]):
        for code in range(len(matrix)):
            for lane in range(LANES):
                profile[code, lane] = matrix[code, others[lane, j]]
        for lane in range(LANES):
            down[lane], diagonal[lane], above[lane] = far, 0, 0
        for i in range(len(query)):
            pair, left, gap = profile[query[i]], score[i], along[i]
            for lane in range(LANES):
                e = max(gap[lane], left[lane] - opening) - extending
                f = max(down[lane], above[lane] - opening) - extending
                s = max(max(diagonal[lane] + pair[lane], e), max(f, np.float32(0)))
                diagonal[lane] = left[lane]
                left[lane], above[lane] = s, s
                gap[lane], down[lane] = e, f
                best[lane] = max(best[lane], s)
    return best
