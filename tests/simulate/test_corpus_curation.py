"""Every rule of curation takes what it should and nothing else."""

import gzip

import gemmi
import numpy as np
import pytest

from tests.simulate.structure_files import (
    add_assembly,
    add_atom,
    add_residue,
    protein_chain,
    random_sequence,
    random_walk,
    rotations_about_z,
    structure_of,
    write_cif,
)
from vitreous.compute.progress import SilentProgress
from vitreous.errors import ConfigError, InputError
from vitreous.simulate.corpus import RESIDUE_NAMES
from vitreous.simulate.curation import CurationConfig, chains_around_contact, clashing_chains, refusal_of_entry
from vitreous.simulate.curation_atoms import curate_file, curate_files, sequences_of_files
from vitreous.simulate.entry_files import read_entry, structure_files
from vitreous.simulate.polymers import residue_code
from vitreous.simulate.tally import Tally
from vitreous.simulate.trace import Trace

SMALL = CurationConfig(min_residues=5)
SEQUENCE = random_sequence(30, 0)


def chain_at(name: str, x_A: float, sequence: str = SEQUENCE, seed: int = 0) -> gemmi.Chain:
    return protein_chain(name, sequence, random_walk(len(sequence), seed) + np.array([x_A, 0, 0]))


def curated(structure, tmp_path, config=SMALL):
    """Return the points of a structure and what the rules took."""
    tally = Tally()
    return curate_file(write_cif(structure, tmp_path / "a.cif"), config, tally), tally


def test_points_are_centred_ca_atoms(tmp_path):
    trace, tally = curated(structure_of(chain_at("A", 50)), tmp_path)
    walk = random_walk(30, 0)
    assert [RESIDUE_NAMES[code] for code in trace.residues] == [
        gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) for letter in SEQUENCE
    ]
    np.testing.assert_allclose(trace.xyz_A - trace.xyz_A[0], walk - walk[0], atol=2e-3)
    assert np.abs(trace.xyz_A.mean(0)).max() < 1.5
    assert all(n == 0 for row in tally.counts.values() for n in row.values())


def test_waters_ligands_and_aids_go(tmp_path):
    chain = chain_at("A", 0)
    for k, (name, atoms) in enumerate({"HOH": "O", "GOL": "C1 O1", "ATP": "PG C1 C2"}.items()):
        for copy in range(k + 1):
            at = {atom: (30 + k, copy * 5, j * 2) for j, atom in enumerate(atoms.split())}
            add_residue(chain, name, 100 + 10 * k + copy, at, polymer=False)
    trace, tally = curated(structure_of(chain), tmp_path)
    assert len(trace) == 30
    taken = {rule: (tally.of(rule, "residues"), tally.of(rule, "atoms")) for rule in tally.counts}
    assert taken == {"waters": (1, 1), "crystallisation aids": (2, 4), "ligands": (3, 9)}


def test_hydrogens_and_foreign_atoms_go(tmp_path):
    chain = chain_at("A", 0)
    for name in ("H", "HA", "XX", "O9"):
        add_atom(chain[3], name, (1, 2, 3))
    chain[3].find_atom("XX", "*").element = gemmi.Element("C")
    trace, tally = curated(structure_of(chain), tmp_path)
    assert len(trace) == 30
    assert (tally.of("hydrogens", "atoms"), tally.of("atoms foreign to the residue", "atoms")) == (2, 2)


def test_most_occupied_location_stays(tmp_path):
    chain = chain_at("A", 0)
    residue = chain[10]
    at = np.array(residue.get_ca().pos.tolist())
    residue.remove_atom("CA", "\0", gemmi.Element("C"))
    for altloc, occupancy, shift in (("A", 0.3, 0.0), ("B", 0.6, 1.0), ("C", 0.1, 2.0)):
        add_atom(residue, "CA", at + np.array([0, 0, shift]), occupancy=occupancy, altloc=altloc)
    trace, tally = curated(structure_of(chain), tmp_path)
    walk = random_walk(30, 0)
    np.testing.assert_allclose(trace.xyz_A[10] - trace.xyz_A[9], walk[10] - walk[9] + np.array([0, 0, 1]), atol=2e-3)
    assert tally.of("alternative locations", "atoms") == 2


def test_most_occupied_residue_of_a_place_stays(tmp_path):
    chain = gemmi.Chain("A")
    for k, xyz in enumerate(random_walk(10, 0)):
        for name, altloc, occupancy in (("SER", "A", 0.4), ("TRP", "B", 0.6)) if k == 4 else (("ALA", "\0", 1.0),):
            add_atom(add_residue(chain, name, k + 1, {}), "CA", xyz, occupancy=occupancy, altloc=altloc)
    trace, tally = curated(structure_of(chain), tmp_path)
    assert [RESIDUE_NAMES[code] for code in trace.residues] == ["ALA"] * 4 + ["TRP"] + ["ALA"] * 5
    assert tally.of("alternative locations", "atoms") == 1


def test_modified_residues_count_as_their_parents():
    parents = {"MSE": "MET", "SEP": "SER", "PSU": "U", "1MA": "A", "ALA": "ALA", "DT": "DT", "XYZ": "UNK", "N": "UNK"}
    assert {name: RESIDUE_NAMES[residue_code(name)] for name in parents} == parents


def test_chains_of_unknown_residues_go(tmp_path):
    unknown, partly = gemmi.Chain("B"), gemmi.Chain("C")
    for k, xyz in enumerate(random_walk(10, 1) + np.array([40, 0, 0])):
        add_residue(unknown, "UNK", k + 1, {"CA": xyz})
        add_residue(partly, "UNK" if k else "GLY", k + 1, {"CA": xyz + np.array([40, 0, 0])})
    trace, tally = curated(structure_of(chain_at("A", 0), unknown, partly), tmp_path)
    assert np.diff(trace.offsets).tolist() == [30, 10]
    assert (tally.of("chains of unknown residues", "chains"), tally.of("chains of unknown residues", "residues")) == (
        1,
        10,
    )


def test_gap_between_neighbours_removes_a_chain_but_missing_residues_do_not(tmp_path):
    torn, missing = chain_at("B", 60), chain_at("C", 120)
    for chain in (torn, missing):
        for residue in list(chain)[15:]:
            for atom in residue:
                atom.pos += gemmi.Position(0, 0, 25)
    for residue in list(missing)[15:]:
        residue.seqid = gemmi.SeqId(str(residue.seqid.num + 8))
    trace, tally = curated(structure_of(chain_at("A", 0), torn, missing), tmp_path)
    assert np.diff(trace.offsets).tolist() == [30, 30]
    assert tally.of("chains with a Cα gap", "chains") == 1
    assert trace.xyz_A[:, 0].max() - trace.xyz_A[:, 0].min() > 100


@pytest.mark.parametrize(("keep", "chains"), [(True, [30, 9]), (False, [30])])
def test_nucleic_acids_are_kept_on_request(tmp_path, keep, chains):
    nucleic = gemmi.Chain("R")
    for k, xyz in enumerate(random_walk(10, 3) * 1.6 + np.array([60, 0, 0])):
        add_residue(nucleic, "ACGU"[k % 4], k + 1, ({"P": xyz} if k else {}) | {"C4'": xyz + np.array([3, 0, 0])})
    config = CurationConfig(min_residues=5, nucleic_acids=keep)
    trace, tally = curated(structure_of(chain_at("A", 0), nucleic), tmp_path, config)
    assert np.diff(trace.offsets).tolist() == chains
    assert tally.of("nucleic acids", "chains") == (not keep)


def lattice(n: int, x_A: float = 0.0) -> np.ndarray:
    return np.stack([np.full(n, x_A), 5.0 * np.arange(n), np.zeros(n)], 1)


def removed(*chains: np.ndarray) -> list[int]:
    offsets = np.cumsum([0, *map(len, chains)], dtype=np.int64)
    return np.flatnonzero(clashing_chains(np.concatenate(chains), offsets)).tolist()


def test_of_two_clashing_chains_the_one_with_the_larger_part_goes():
    assert removed(lattice(10), lattice(4, 1.0)) == [1]  # 4 of 10 against 4 of 4
    assert removed(lattice(4, 1.0), lattice(10)) == [0]


def test_of_equal_parts_the_smaller_and_of_equal_sizes_the_later_goes():
    double = np.concatenate([lattice(5, 1.0), lattice(5, 1.2)])  # every atom of either touches the other
    assert removed(lattice(5), double) == [0]
    assert removed(double, lattice(5)) == [1]
    assert removed(lattice(8), lattice(8, 1.0)) == [1]


def test_chains_that_touch_in_fewer_atoms_or_farther_stay():
    assert removed(lattice(10), np.concatenate([lattice(3, 1.0), lattice(7, 50.0)])) == []  # exactly 30 %
    assert removed(lattice(10), np.concatenate([lattice(4, 1.0), lattice(6, 50.0)])) == [1]
    assert removed(lattice(10), lattice(10, 1.75)) == []


def test_a_removed_chain_removes_no_other():
    assert removed(lattice(9), lattice(9, 1.0), lattice(9, 2.0)) == [1]


def test_assembly_is_built_with_copies_as_chains(tmp_path):
    structure = structure_of(chain_at("A", 30), chain_at("B", 60, SEQUENCE[:20], 1))
    add_assembly(structure, rotations_about_z(3))
    trace, _ = curated(structure, tmp_path)
    assert sorted(np.diff(trace.offsets).tolist()) == [20] * 3 + [30] * 3
    turn = np.array(rotations_about_z(3)[1].mat.tolist())
    turned = trace.xyz_A @ turn.T
    nearest = np.linalg.norm(turned[:, None] - trace.xyz_A[None], axis=-1).min(1)
    assert nearest.max() < 5e-3  # the assembly has the symmetry it was built with


def test_assembly_leaves_out_chains_that_it_does_not_name_and_those_removed(tmp_path):
    unknown = gemmi.Chain("U")
    for k, xyz in enumerate(random_walk(10, 1) + np.array([90, 0, 0])):
        add_residue(unknown, "UNK", k + 1, {"CA": xyz})
    structure = structure_of(chain_at("A", 30), unknown)
    add_assembly(structure, rotations_about_z(2))
    structure[0].add_chain(chain_at("Z", 300))
    trace, _ = curated(structure, tmp_path)
    assert np.diff(trace.offsets).tolist() == [30, 30]


def test_copies_that_fall_onto_each_other_clash(tmp_path):
    structure = structure_of(chain_at("A", 30))
    add_assembly(structure, [*rotations_about_z(2), *rotations_about_z(1)])
    trace, tally = curated(structure, tmp_path)
    assert np.diff(trace.offsets).tolist() == [30, 30]
    assert tally.of("clashing chains", "chains") == 1


def test_large_assemblies_keep_the_chains_around_a_contact(tmp_path):
    rod = Trace.of_chains("rod", [(lattice(6, 10.0 * k), np.zeros(6, np.uint8)) for k in range(50)])
    kept = {seed: chains_around_contact(rod, CurationConfig(seed=seed)) for seed in range(6)}
    for chosen in kept.values():
        assert chosen.sum() == 20
        assert np.ptp(np.flatnonzero(chosen)) == 19  # neighbours, without a hole
    assert len({chosen.tobytes() for chosen in kept.values()}) > 1
    np.testing.assert_array_equal(kept[0], chains_around_contact(rod, CurationConfig(seed=0)))
    structure = structure_of(*[chain_at(f"C{k}", 60.0 * k, SEQUENCE[:10]) for k in range(23)])
    trace, tally = curated(structure, tmp_path)
    assert (len(trace.offsets) - 1, tally.of("chains far from the contact", "chains")) == (20, 3)


@pytest.mark.parametrize(
    ("released", "resolution_A", "rule"),
    [
        ("2021-09-29", 9.0, None),
        ("2021-09-30", 2.0, "released too late"),
        ("2020-01-01", 9.1, "resolution above the limit"),
        ("2020-01-01", None, "no resolution reported"),
        ("", 2.0, "no date reported"),
    ],
)
def test_date_and_resolution(released, resolution_A, rule):
    assert refusal_of_entry(released, resolution_A, CurationConfig()) == rule
    relaxed = refusal_of_entry(released, resolution_A, CurationConfig(keep_unreported=True))
    assert relaxed == (None if rule and "reported" in rule else rule)


def test_release_is_the_first_revision_and_deposition_stands_in(tmp_path):
    structure = structure_of(chain_at("A", 0))
    assert read_entry(write_cif(structure, tmp_path / "a.cif", released="2019-03-04")).released == "2019-03-04"
    structure.info["_pdbx_database_status.recvd_initial_deposition_date"] = "2018-10-16"
    assert read_entry(write_cif(structure, tmp_path / "b.cif", released=None)).released == "2018-10-16"
    header = "HEADER    HYDROLASE                               16-OCT-18   6MSM\nREVDAT   2   05-DEC-18 6MSM    1\n"
    lines = structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=True))
    with gzip.open(tmp_path / "c.pdb.gz", "wt") as file:
        file.write(header + "REVDAT   1   21-NOV-18 6MSM    0\n" + lines)
    (tmp_path / "d.pdb").write_text(header + lines)
    assert read_entry(tmp_path / "c.pdb.gz").released == "2018-11-21"
    assert read_entry(tmp_path / "d.pdb").released == "2018-10-16"


def test_folder_counts_what_it_cannot_read_and_what_is_double(tmp_path):
    structure = structure_of(chain_at("A", 0))
    write_cif(structure, tmp_path / "a.cif")
    (tmp_path / "below").mkdir()
    write_cif(structure, tmp_path / "below" / "a.cif")
    write_cif(structure, tmp_path / "late.cif", released="2022-01-01")
    write_cif(structure_of(chain_at("A", 0, "ACDE")), tmp_path / "small.cif")
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n_a.b")
    (tmp_path / "empty.pdb.gz").write_bytes(gzip.compress(b"END\n"))
    (tmp_path / "notes.txt").write_text("no structure")
    tally = Tally()
    kept = list(curate_files(tmp_path, SMALL, tally, SilentProgress()))
    assert [trace.name for trace in kept] == ["a"]
    taken = {rule: row["structures"] for rule, row in tally.counts.items() if row["structures"]}
    assert taken == {
        "read": 6,
        "second file of one name": 1,
        "cannot be read": 2,
        "released too late": 1,
        "too few residues": 1,
    }


def test_sequences_to_exclude_come_from_every_file_or_none(tmp_path):
    write_cif(structure_of(chain_at("A", 0), chain_at("B", 50, "ACDEF")), tmp_path / "a.cif", released=None)
    found = sequences_of_files(tmp_path)
    assert ["".join(gemmi.one_letter_code([RESIDUE_NAMES[c] for c in codes])) for codes in found] == [SEQUENCE, "ACDEF"]
    (tmp_path / "b.cif").write_text("nothing")
    with pytest.raises(InputError, match=r"b\.cif"):
        sequences_of_files(tmp_path)


def test_options_out_of_range_are_refused():
    for wrong in ({"released_before": "yesterday"}, {"min_residues": 10, "max_residues": 5}, {"max_chains": 0}):
        with pytest.raises(ConfigError):
            CurationConfig(**wrong)


def test_real_models_keep_their_chains(shared_data):
    """Receptor, G protein and nanobody: five proteins; the entry is of 2011 at 3.2 Å."""
    path = next(path for path in structure_files(shared_data / "models") if "3sn6" in path.name)
    trace = curate_file(path, CurationConfig(), Tally())
    assert len(trace.offsets) - 1 == 5
    assert 1200 < len(trace) < 1400
