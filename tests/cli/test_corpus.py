"""``vitreous corpus build`` as a whole."""

import json

import numpy as np
import pytest

from tests.simulate.structure_files import (
    mutated,
    protein_chain,
    random_sequence,
    random_walk,
    structure_of,
    write_cif,
)
from vitreous.cli.main import main
from vitreous.simulate.corpus import Corpus

SEQUENCES = [random_sequence(160, seed) for seed in range(6)]


def write(folder, name, *sequences, released="2020-01-01"):
    chains = [
        protein_chain(f"{k}", s, random_walk(len(s), k) + np.array([60.0 * k, 0, 0])) for k, s in enumerate(sequences)
    ]
    return write_cif(structure_of(*chains), folder / f"{name}.cif", released=released)


@pytest.fixture
def folder(tmp_path):
    structures = tmp_path / "structures"
    structures.mkdir()
    for k, sequence in enumerate(SEQUENCES):
        write(structures, f"s{k}", sequence)
    write(structures, "pair", mutated(SEQUENCES[0], 0.5, 0), mutated(SEQUENCES[1], 0.5, 1))
    write(structures, "late", SEQUENCES[0], released="2023-01-01")
    write(structures, "small", SEQUENCES[2][:50])
    return structures


def test_build_writes_corpus_and_counts(folder, tmp_path, capsys):
    output = tmp_path / "corpus.npz"
    assert main(["corpus", "build", str(folder), "-o", str(output)]) == 0
    shown = capsys.readouterr().out
    corpus, summary = Corpus.load(output), json.loads(output.with_suffix(".json").read_text())
    assert corpus.ids.tolist() == ["pair", "s0", "s1", "s2", "s3", "s4", "s5"]
    assert len(set(corpus.family[:3].tolist())) == 1
    assert len(set(corpus.family.tolist())) == summary["families"] == 5
    assert summary["rules"]["read"]["structures"] == 9
    assert summary["rules"]["released too late"]["structures"] == 1
    assert summary["rules"]["too few residues"]["structures"] == 1
    assert summary["rules"]["kept"] == {"structures": 7, "chains": 8, "residues": 8 * 160, "atoms": 0}
    assert sum(summary["structures"].values()) == 7
    assert all(rule in shown for rule in summary["rules"])


def test_homologues_of_excluded_structures_are_left_out(folder, tmp_path):
    kept_out = tmp_path / "models"
    kept_out.mkdir()
    write(kept_out, "model", mutated(SEQUENCES[3], 0.45, 7), released=None)
    words = ["corpus", "build", str(folder), "-o", str(tmp_path / "c.npz"), "--exclude", str(kept_out), "--quiet"]
    assert main(words) == 0
    assert "s3" not in Corpus.load(tmp_path / "c.npz").ids
    rules = json.loads((tmp_path / "c.json").read_text())["rules"]
    assert rules["homologues of excluded structures"]["structures"] == 1


def test_same_command_gives_the_same_corpus(folder, tmp_path):
    for name in ("a.npz", "b.npz"):
        assert main(["corpus", "build", str(folder), "-o", str(tmp_path / name), "--quiet"]) == 0
    first, second = (Corpus.load(tmp_path / name).__dict__ for name in ("a.npz", "b.npz"))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_output_is_not_overwritten_by_accident(folder, tmp_path, capsys):
    output = tmp_path / "corpus.npz"
    output.write_text("precious")
    assert main(["corpus", "build", str(folder), "-o", str(output)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "precious"
    assert main(["corpus", "build", str(folder), "-o", str(tmp_path / "corpus.dat")]) == 2


def test_nothing_left_names_the_rule(folder, tmp_path, capsys):
    words = ["corpus", "build", str(folder), "-o", str(tmp_path / "c.npz"), "--released-before", "1990-01-01"]
    assert main(words) == 2
    assert "released too late" in capsys.readouterr().err
    assert not (tmp_path / "c.npz").exists()
