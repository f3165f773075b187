"""Families of structures whose chains are homologous, and splits that keep every family together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.simulate.corpus import NUCLEOTIDES, RESIDUE_NAMES
from vitreous.simulate.homology import HomologyRule, homologues
from vitreous.simulate.sequence_candidates import candidates
from vitreous.simulate.substitution import NUCLEIC, PROTEIN

_PROTEIN_CODES = np.full(len(RESIDUE_NAMES), PROTEIN.alphabet, np.uint8)
_PROTEIN_CODES[:20] = np.arange(20)
_NUCLEIC_CODES = np.full(len(RESIDUE_NAMES), NUCLEIC.alphabet, np.uint8)
_NUCLEIC_CODES[20:28] = np.arange(8) % 4
_IS_NUCLEOTIDE = np.isin(np.array(RESIDUE_NAMES), NUCLEOTIDES)

_SHARES = (0.90, 0.03, 0.07)
_GIANT = 0.02
"""A family larger than this part of all structures goes to training."""


@final
@dataclass(frozen=True)
class Chains:
    """Distinct sequences of many structures.

    Attributes
    ----------
    sequences
        Codes of every distinct chain.
    structures
        For every distinct chain the structures that hold it.
    """

    sequences: list[NDArray[np.uint8]]
    structures: list[list[int]]


def distinct_chains(chains: Iterable[tuple[int, NDArray[np.uint8]]], rule: HomologyRule) -> tuple[Chains, Chains]:
    """Collect the distinct protein and nucleic-acid chains of at least ``rule.min_chain`` known residues.

    Parameters
    ----------
    chains
        Number of the structure, and residues as indices into ``RESIDUE_NAMES``.
    rule
        What counts as homologous.
    """
    proteins: dict[bytes, tuple[NDArray[np.uint8], list[int]]] = {}
    nucleic: dict[bytes, tuple[NDArray[np.uint8], list[int]]] = {}
    for structure, residues in chains:
        is_nucleic = bool(_IS_NUCLEOTIDE[residues].mean() > 0.5)
        codes = (_NUCLEIC_CODES if is_nucleic else _PROTEIN_CODES)[residues]
        if (codes < (NUCLEIC if is_nucleic else PROTEIN).alphabet).sum() < rule.min_chain:
            continue
        holders = (nucleic if is_nucleic else proteins).setdefault(codes.tobytes(), (codes, []))[1]
        if not holders or holders[-1] != structure:
            holders.append(structure)
    return _as_chains(proteins), _as_chains(nucleic)


def _as_chains(found: dict[bytes, tuple[NDArray[np.uint8], list[int]]]) -> Chains:
    return Chains([sequence for sequence, _ in found.values()], [holders for _, holders in found.values()])


def find_families(
    n_structures: int,
    chains: Sequence[tuple[int, NDArray[np.uint8]]],
    rule: HomologyRule,
    progress: Progress | None = None,
) -> NDArray[np.int32]:
    """Number the families of structures: two with homologous chains belong to one, and so on in turn.

    Parameters
    ----------
    n_structures
        Structures.
    chains
        Number of the structure, and residues as indices into ``RESIDUE_NAMES``.
    rule
        What counts as homologous. Chains that are in one family already are not aligned again.
    progress
        Bars.
    """
    progress = progress or SilentProgress()
    family = _Families(n_structures)
    for kind, scoring in zip(distinct_chains(chains, rule), (PROTEIN, NUCLEIC)):
        for holders in kind.structures:
            family.join(holders)
        pairs = candidates(kind.sequences, None, scoring, rule.seed_score)
        for i, found in enumerate(progress.track(pairs, "comparing sequences", len(kind.sequences))):
            own = kind.structures[i][0]
            others = [int(j) for j in found if not family.are_joined(own, kind.structures[int(j)][0])]
            for k in homologues(kind.sequences[i], [kind.sequences[j] for j in others], rule, scoring):
                family.join([own, kind.structures[others[k]][0]])
    return family.numbers()


def homologous_structures(
    chains: Sequence[tuple[int, NDArray[np.uint8]]], excluded: Sequence[NDArray[np.uint8]], rule: HomologyRule
) -> set[int]:
    """Return the structures that hold a homologue of an excluded chain."""
    found: set[int] = set()
    queries = distinct_chains([(0, residues) for residues in excluded], rule)
    for query, target, scoring in zip(queries, distinct_chains(chains, rule), (PROTEIN, NUCLEIC)):
        n = len(query.sequences)
        sequences = query.sequences + target.sequences
        for i, others in enumerate(candidates(sequences, n, scoring, rule.seed_score)):
            new = [int(j) for j in others if not found.issuperset(target.structures[int(j) - n])]
            for k in homologues(sequences[i], [sequences[j] for j in new], rule, scoring):
                found.update(target.structures[new[k] - n])
    return found


@final
class _Families:
    """Disjoint sets of structures."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def are_joined(self, i: int, j: int) -> bool:
        return self._root(i) == self._root(j)

    def join(self, members: Sequence[int]) -> None:
        for other in members[1:]:
            self._parent[self._root(other)] = self._root(members[0])

    def numbers(self) -> NDArray[np.int32]:
        """Number the sets in the order of their roots."""
        roots = [self._root(i) for i in range(len(self._parent))]
        return np.unique(roots, return_inverse=True)[1].astype(np.int32)


def split_families(family: NDArray[np.int32], seed: int = 0) -> NDArray[np.int8]:
    """Assign whole families to training (0), validation (1) and test (2), about 90, 3 and 7 % of the structures.

    Families of more than 2 % of the structures go to training; the others are drawn in random order.
    """
    sizes = np.bincount(family)
    split = np.zeros(len(sizes), np.int8)
    room = {2: _SHARES[2] * len(family), 1: _SHARES[1] * len(family)}
    for number in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[number] > _GIANT * len(family):
            continue
        for part in room:
            if sizes[number] <= room[part]:
                split[number] = part
                room[part] -= sizes[number]
                break
    return split[family]
