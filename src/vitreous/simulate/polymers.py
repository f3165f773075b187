"""The polymer chains of an atomic model: cleaned of everything else, atom by atom."""

from functools import cache
from itertools import groupby, pairwise
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from vitreous.simulate.corpus import NUCLEOTIDES, RESIDUE_NAMES
from vitreous.simulate.residue_atoms import CRYSTALLISATION_AIDS, RESIDUE_ATOMS
from vitreous.simulate.tally import Tally
from vitreous.simulate.trace import UNKNOWN_CODE

MAX_CA_GAP_A = 10.0

ATOM_RULES = (
    *("waters", "crystallisation aids", "ligands"),
    *("alternative locations", "hydrogens", "atoms foreign to the residue"),
)
"""Names of the rules of :func:`keep_polymers`."""


def keep_polymers(structure: Any, tally: Tally) -> None:
    """Reduce a structure to the heavy atoms of the polymers of its first model, one location each; changes it.

    Of alternative locations, and of residues that share one place, the most occupied stays. Residues of the twenty
    amino acids and the eight nucleotides keep the atoms that the Chemical Component Dictionary gives them; modified
    residues keep all.
    """
    del structure[1:]
    structure.setup_entities()
    for chain in structure[0]:
        _remove_residues(chain, tally)
        _choose_residues(chain, tally)
        for residue in chain:
            _clean_residue(residue, tally)
    structure.remove_empty_chains()


def _remove_residues(chain: Any, tally: Tally) -> None:
    for k in range(len(chain) - 1, -1, -1):
        residue = chain[k]
        if residue.entity_type == gemmi.EntityType.Polymer:
            continue
        if residue.is_water():
            rule = "waters"
        else:
            rule = "crystallisation aids" if residue.name in CRYSTALLISATION_AIDS else "ligands"
        tally.count(rule, "residues")
        tally.count(rule, "atoms", len(residue))
        del chain[k]


def _choose_residues(chain: Any, tally: Tally) -> None:
    """Keep the most occupied of residues that share one place in the chain."""
    places = [list(group) for _, group in groupby(range(len(chain)), key=lambda k: str(chain[k].seqid))]
    for place in reversed(places):
        best = max(place, key=lambda k: sum(atom.occ for atom in chain[k]) / max(len(chain[k]), 1))
        for k in reversed(place):
            if k != best:
                tally.count("alternative locations", "atoms", len(chain[k]))
                del chain[k]


def _clean_residue(residue: Any, tally: Tally) -> None:
    allowed = RESIDUE_ATOMS.get(residue.name)
    best: dict[str, int] = {}
    for k, atom in enumerate(residue):
        if atom.name not in best or atom.occ > residue[best[atom.name]].occ:
            best[atom.name] = k
    for k in range(len(residue) - 1, -1, -1):
        atom = residue[k]
        if atom.is_hydrogen():
            rule = "hydrogens"
        elif best[atom.name] != k:
            rule = "alternative locations"
        elif allowed is not None and atom.name not in allowed:
            rule = "atoms foreign to the residue"
        else:
            continue
        tally.count(rule, "atoms")
        del residue[k]


@cache
def residue_code(name: str) -> int:
    """Return the index of a residue in ``RESIDUE_NAMES``; modified ones count as their parent."""
    if name in RESIDUE_NAMES:
        return RESIDUE_NAMES.index(name)
    known = gemmi.find_tabulated_residue(name)
    if not known.found() or not known.one_letter_code.isalpha():
        return UNKNOWN_CODE
    parent = gemmi.expand_one_letter(known.one_letter_code.upper(), known.kind) or ""
    return RESIDUE_NAMES.index(parent) if parent in RESIDUE_NAMES else UNKNOWN_CODE


def codes_of(chain: Any) -> NDArray[np.uint8]:
    """Return the residues of a chain as indices into ``RESIDUE_NAMES``."""
    return np.array([residue_code(residue.name) for residue in chain], np.uint8)


def is_nucleic(codes: NDArray[np.uint8]) -> bool:
    """Tell whether a chain is mostly nucleotides."""
    nucleotides = [RESIDUE_NAMES.index(name) for name in NUCLEOTIDES]
    return bool(np.isin(codes, nucleotides).mean() > 0.5)


def has_ca_gap(chain: Any) -> bool:
    """Tell whether two neighbours in the sequence have their Cα more than 10 Å apart.

    Neighbours are consecutive in the sequence of the whole molecule (``label_seq_id``) or, where the file has none,
    in the numbering of the residues; missing residues are no gap.
    """
    traced = [(_place(residue), residue.get_ca().pos) for residue in chain if residue.get_ca() is not None]
    return any(b[0] - a[0] == 1 and a[1].dist(b[1]) > MAX_CA_GAP_A for a, b in pairwise(traced))


def _place(residue: Any) -> int:
    return residue.label_seq if residue.label_seq is not None else residue.seqid.num


def points_of(chain: Any) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return Cα or P of every residue that has one ``[n, 3]``, and the codes of those residues."""
    found = [(residue.get_ca() or residue.get_p(), residue_code(residue.name)) for residue in chain]
    kept = [(atom.pos.tolist(), code) for atom, code in found if atom is not None]
    return np.array([xyz for xyz, _ in kept]).reshape(-1, 3), np.array([code for _, code in kept], np.uint8)


def atoms_of(chain: Any) -> NDArray[np.float64]:
    """Return the positions of all atoms of a chain ``[n, 3]``."""
    return np.array([atom.pos.tolist() for residue in chain for atom in residue]).reshape(-1, 3)
