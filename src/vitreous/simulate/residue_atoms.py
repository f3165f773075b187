"""The atoms that the common residues have in the Chemical Component Dictionary, hydrogens left out."""

_BACKBONE = "N CA C O OXT"
_RIBOSE = "OP3 P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' O2' C1'"
_DEOXYRIBOSE = _RIBOSE.replace(" O2'", "")

_SIDE_CHAINS = {
    "ALA": "CB",
    "ARG": "CB CG CD NE CZ NH1 NH2",
    "ASN": "CB CG OD1 ND2",
    "ASP": "CB CG OD1 OD2",
    "CYS": "CB SG",
    "GLN": "CB CG CD OE1 NE2",
    "GLU": "CB CG CD OE1 OE2",
    "GLY": "",
    "HIS": "CB CG ND1 CD2 CE1 NE2",
    "ILE": "CB CG1 CG2 CD1",
    "LEU": "CB CG CD1 CD2",
    "LYS": "CB CG CD CE NZ",
    "MET": "CB CG SD CE",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
    "PRO": "CB CG CD",
    "SER": "CB OG",
    "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CB CG1 CG2",
}
_BASES = {
    "A": "N9 C8 N7 C5 C6 N6 N1 C2 N3 C4",
    "C": "N1 C2 O2 N3 C4 N4 C5 C6",
    "G": "N9 C8 N7 C5 C6 O6 N1 C2 N2 N3 C4",
    "U": "N1 C2 O2 N3 C4 O4 C5 C6",
    "T": "N1 C2 O2 N3 C4 O4 C5 C7 C6",
}

RESIDUE_ATOMS: dict[str, frozenset[str]] = {
    **{name: frozenset(f"{_BACKBONE} {side}".split()) for name, side in _SIDE_CHAINS.items()},
    **{name: frozenset(f"{_RIBOSE} {_BASES[name]}".split()) for name in "ACGU"},
    **{f"D{name}": frozenset(f"{_DEOXYRIBOSE} {_BASES[name]}".split()) for name in "ACGT"},
}
"""Names of the atoms of every residue that a corpus tells apart, except the unknown one."""

_AIDS = "SO4 GOL EDO PO4 ACT PEG DMS TRS PGE PG4 FMT EPE MPD MES CD IOD"
CRYSTALLISATION_AIDS = frozenset(_AIDS.split())
"""Components that come from the crystallisation (Abramson et al. 2024, supplement of AlphaFold 3)."""
