import gzip
import re
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from vitreous.errors import ConfigError, InputError
from vitreous.simulate.atoms import read_atoms
from vitreous.simulate.config import SpecimenConfig
from vitreous.simulate.specimen import build_specimen

PDB = """\
ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00 10.00           N
ATOM      2  CA AALA A   1      11.639   6.071  -5.147  0.30 12.00           C
ATOM      3  CA BALA A   1      12.639   7.071  -4.147  0.70 13.00           C
ATOM      4  CB  ALA B   2      13.000   8.000  -3.000  0.50 14.00           C
HETATM    5 MG    MG B   3       1.000   2.000   3.000  1.00 20.00          MG
HETATM    6  O   HOH W   4      20.000  20.000  20.000  1.00 30.00           O
END
"""


def write(tmp_path: Path, text: str, name: str = "model.pdb") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_fields_are_those_of_the_file_and_the_stronger_alternative_stands_for_both(tmp_path: Path) -> None:
    atoms = read_atoms(write(tmp_path, PDB))
    rows = {
        (str(e), str(c)): (xyz.tolist(), float(b), float(o))
        for e, c, xyz, b, o in zip(atoms.element, atoms.chain, atoms.xyz_A, atoms.b_A2, atoms.occupancy)
    }
    assert rows == {
        ("N", "A"): ([11.104, 6.134, -6.504], 10.0, 1.0),
        ("C", "A"): ([12.639, 7.071, -4.147], 13.0, 1.0),
        ("C", "B"): ([13.0, 8.0, -3.0], 14.0, 0.5),
        ("Mg", "B"): ([1.0, 2.0, 3.0], 20.0, 1.0),
    }


def test_parts_are_chains_or_residues_of_them(tmp_path: Path) -> None:
    atoms = read_atoms(write(tmp_path, PDB))
    assert atoms.element[atoms.in_chains(("B:2-2", "A")).numpy()].tolist() == ["N", "C", "C"]
    assert atoms.element[atoms.in_chains(("B",)).numpy()].tolist() == ["C", "Mg"]
    assert not bool(atoms.in_chains(("B:4-9",)).any())
    assert atoms.select(atoms.in_chains(("B",))).residue.tolist() == [2, 3]
    for name in ("B:2", "B:x-y", ""):
        with pytest.raises(ConfigError, match="cannot be found"):
            atoms.in_chains((name,))


def test_waters_are_kept_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, PDB)
    assert len(read_atoms(path, keep_waters=True)) == len(read_atoms(path)) + 1


def test_gzip_and_mmcif_give_the_same_atoms(tmp_path: Path) -> None:
    path = write(tmp_path, PDB)
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "model.cif"))
    with gzip.open(tmp_path / "model.pdb.gz", "wt") as file:
        file.write(PDB)
    first = read_atoms(path)
    for other in ("model.cif", "model.pdb.gz"):
        again = read_atoms(tmp_path / other)
        assert again.element.tolist() == first.element.tolist()
        torch.testing.assert_close(again.xyz_A, first.xyz_A)


def test_only_the_first_model_is_read(tmp_path: Path) -> None:
    body = PDB.replace("END\n", "")
    path = write(tmp_path, f"MODEL        1\n{body}ENDMDL\nMODEL        2\n{body}ENDMDL\nEND\n")
    assert len(read_atoms(path)) == 4


def test_chains_are_kept_alone(tmp_path: Path) -> None:
    path = write(tmp_path, PDB)
    whole = read_atoms(path)
    for name in np.unique(whole.chain):
        state = build_specimen(str(path), SpecimenConfig(chains=(str(name),))).states()[0]
        assert set(state.atoms.chain) == {name}
        assert len(state.atoms) == (whole.chain == name).sum() < len(whole)
    with pytest.raises(ConfigError, match="--chains must name some"):
        build_specimen(str(path), SpecimenConfig(chains=("Q",)))
    with pytest.raises(ConfigError, match="--chains needs a structure file"):
        build_specimen("phantom", SpecimenConfig(chains=("A",)))


def test_an_assembly_is_built_by_its_transforms(tmp_path: Path) -> None:
    remark = "".join(
        f"REMARK 350 {line}\n"
        for line in (
            "BIOMOLECULE: 1",
            "APPLY THE FOLLOWING TO CHAINS: A, B",
            "  BIOMT1   1  1.000000  0.000000  0.000000        0.00000",
            "  BIOMT2   1  0.000000  1.000000  0.000000        0.00000",
            "  BIOMT3   1  0.000000  0.000000  1.000000        0.00000",
            "  BIOMT1   2 -1.000000  0.000000  0.000000       50.00000",
            "  BIOMT2   2  0.000000 -1.000000  0.000000        0.00000",
            "  BIOMT3   2  0.000000  0.000000  1.000000        0.00000",
        )
    )
    path = write(tmp_path, remark + PDB)
    atoms = read_atoms(path, assembly="1")
    assert len(atoms) == 8
    turned = atoms.xyz_A[4:] * torch.tensor([-1.0, -1.0, 1.0]) + torch.tensor([50.0, 0.0, 0.0])
    torch.testing.assert_close(turned, atoms.xyz_A[:4])
    with pytest.raises(ConfigError, match="--assembly 7 is not defined"):
        read_atoms(path, assembly="7")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("END\n", "no atoms"),
        (PDB.replace("           C\n", "           X\n"), "no electron scattering factor"),
        (re.sub(r"  [01]\.\d0 ", "  0.00 ", PDB), "occupancies are zero"),
        ("data_x\nloop_\n_atom_site.id\n'unclosed\n", "no atoms|cannot be read"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_atoms(write(tmp_path, text))


def test_a_broken_mmcif_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a structure"):
        read_atoms(write(tmp_path, "loop_ _a _b 1 2 3\n'", "model.cif"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such structure file"):
        read_atoms(tmp_path / "none.pdb")


def test_a_ribosome_has_its_mass(shared_data: Path) -> None:
    atoms = read_atoms(shared_data / "models" / "4v5a_ribosome1.cif.gz")
    assert 2.0e6 < float(atoms.masses_Da.sum()) < 2.6e6
