"""Small structure files, atom by atom."""

from pathlib import Path

import gemmi
import numpy as np

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def random_sequence(n: int, seed: int) -> str:
    """Return a protein sequence."""
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), n))


def mutated(sequence: str, identity: float, seed: int) -> str:
    """Return the sequence with the residues at a part ``1 - identity`` of its places replaced by others."""
    generator = np.random.default_rng(seed)
    places = generator.permutation(len(sequence))[: round((1 - identity) * len(sequence))]
    letters = list(sequence)
    for k in places:
        letters[k] = generator.choice([letter for letter in LETTERS if letter != letters[k]])
    return "".join(letters)


def random_walk(n: int, seed: int, start=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Return Cα positions 3.8 Å apart along a walk that stays compact."""
    generator = np.random.default_rng(seed)
    points = [np.array(start, float)]
    for _ in range(n - 1):
        step = generator.normal(size=3) - 0.1 * (points[-1] - start)
        points.append(points[-1] + 3.8 * step / np.linalg.norm(step))
    return np.array(points)


def add_atom(residue: gemmi.Residue, name: str, position, *, occupancy: float = 1.0, altloc: str = "\0") -> None:
    """Append an atom; its element is the first letter of its name."""
    atom = gemmi.Atom()
    atom.name, atom.element = name, gemmi.Element(name[0])
    atom.pos, atom.occ, atom.altloc = gemmi.Position(*position), occupancy, altloc
    residue.add_atom(atom)


def add_residue(chain: gemmi.Chain, name: str, number: int, atoms: dict, *, polymer: bool = True) -> gemmi.Residue:
    """Append a residue of the given atoms (name to position)."""
    residue = gemmi.Residue()
    residue.name, residue.seqid = name, gemmi.SeqId(str(number))
    residue.entity_type = gemmi.EntityType.Polymer if polymer else gemmi.EntityType.NonPolymer
    residue.het_flag = "A" if polymer else "H"
    for atom, position in atoms.items():
        add_atom(residue, atom, position)
    return chain.add_residue(residue)


def protein_chain(name: str, sequence: str, points: np.ndarray) -> gemmi.Chain:
    """Return a chain of N, CA and C at and around the given Cα positions."""
    chain = gemmi.Chain(name)
    for k, (letter, xyz) in enumerate(zip(sequence, points)):
        residue = gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA)
        add_residue(
            chain, residue, k + 1, {"N": xyz - np.array([1.2, 0.4, 0]), "CA": xyz, "C": xyz + np.array([1.2, 0.4, 0])}
        )
    return chain


def structure_of(*chains: gemmi.Chain, name: str = "test") -> gemmi.Structure:
    """Join chains into a structure of 2 Å resolution."""
    structure = gemmi.Structure()
    structure.name, structure.resolution = name, 2.0
    model = gemmi.Model(1)
    for chain in chains:
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return structure


def rotations_about_z(n: int, shift_A: float = 0.0) -> list[gemmi.Transform]:
    """Return the n operators of a cyclic group about an axis along z at x = ``shift_A``."""
    found = []
    for k in range(n):
        c, s = np.cos(2 * np.pi * k / n), np.sin(2 * np.pi * k / n)
        matrix, axis = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array([shift_A, 0, 0])
        found.append(gemmi.Transform(gemmi.Mat33(matrix.tolist()), gemmi.Vec3(*(axis - matrix @ axis))))
    return found


def add_assembly(structure: gemmi.Structure, transforms: list[gemmi.Transform]) -> None:
    """Define biological assembly 1 as copies of all chains."""
    generator = gemmi.Assembly.Gen()
    generator.chains = [chain.name for chain in structure[0]]
    for k, transform in enumerate(transforms):
        operator = gemmi.Assembly.Operator()
        operator.name, operator.transform = str(k + 1), transform
        generator.operators.append(operator)
    assembly = gemmi.Assembly("1")
    assembly.generators.append(generator)
    structure.assemblies.append(assembly)


def write_cif(structure: gemmi.Structure, path: Path, *, released: str | None = "2020-01-01") -> Path:
    """Write an mmCIF file with its resolution and a date of release."""
    document = structure.make_mmcif_document()
    document[0].set_pair("_em_3d_reconstruction.resolution", f"{structure.resolution}")
    if released is not None:
        loop = document[0].init_loop("_pdbx_audit_revision_history.", ["ordinal", "revision_date"])
        loop.add_row(["1", released])
        loop.add_row(["2", "2024-05-05"])
    document.write_file(str(path))
    return path
