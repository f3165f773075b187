"""The corpus and its file."""

from dataclasses import fields, replace

import gemmi
import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.simulate.corpus import RESIDUE_NAMES, Corpus, residue_masses_Da

LYSOZYME = (
    "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPCSALLSSDITASVNCAKKIVSDGNGMNAW"
    "VAWRNRCKGTDVQAWIRGCRL"
)


def corpus_of(*lengths: tuple[int, ...]) -> Corpus:
    """Return a corpus of random points; one tuple of chain lengths per structure."""
    generator = np.random.default_rng(0)
    residues = sum(map(sum, lengths))
    return Corpus(
        ids=np.array([f"s{i}" for i in range(len(lengths))]),
        structure_offsets=np.cumsum([0, *map(len, lengths)], dtype=np.int64),
        chain_offsets=np.cumsum([0, *(n for chains in lengths for n in chains)], dtype=np.int64),
        points_A=generator.normal(size=(residues, 3)).astype(np.float32),
        residues=generator.integers(0, 20, residues).astype(np.uint8),
        residue_names=np.array(RESIDUE_NAMES),
        split=(np.arange(len(lengths)) % 3).astype(np.int8),
        family=np.arange(len(lengths), dtype=np.int32),
        self_overlap=np.full(len(lengths), 0.5, np.float32),
    )


def test_chains_join_to_points_and_structures_to_all():
    corpus = corpus_of((3, 5), (4,), (1, 2, 6))
    for i, lengths in enumerate(((3, 5), (4,), (1, 2, 6))):
        assert tuple(map(len, corpus.chains(i))) == lengths
        np.testing.assert_array_equal(np.concatenate(corpus.chains(i)), corpus.points(i))
        assert len(corpus.masses_Da(i)) == sum(lengths)
    np.testing.assert_array_equal(np.concatenate([corpus.points(i) for i in range(len(corpus))]), corpus.points_A)


def test_splits_share_nothing_and_leave_nothing():
    corpus = corpus_of(*[(2,)] * 10)
    parts = [corpus.subset(name) for name in ("train", "validation", "test")]
    assert sorted(np.concatenate(parts)) == list(range(10))


def test_masses_add_up_to_a_protein():
    """Hen egg-white lysozyme weighs 14,305 Da with its four disulphides, which take eight hydrogens.

    The dictionary's arginines, lysines and histidines carry a proton each.
    """
    protons = sum(map(LYSOZYME.count, "RKH"))
    names = np.array([gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) for letter in LYSOZYME])
    assert residue_masses_Da(names).sum() + 18.015 - 8 * 1.008 == pytest.approx(14305 + protons * 1.008, abs=1)


def test_nucleotides_weigh_three_amino_acids():
    masses = residue_masses_Da(np.array(RESIDUE_NAMES))
    assert 2.5 < masses[20:28].mean() / masses[:20].mean() < 3.0
    assert masses[RESIDUE_NAMES.index("UNK")] == pytest.approx(111, abs=1)


def test_file_gives_back_every_array(tmp_path):
    corpus = corpus_of((3, 5), (4,))
    corpus.save(tmp_path / "c.npz")
    again = Corpus.load(tmp_path / "c.npz")
    for field in fields(Corpus):
        before, after = getattr(corpus, field.name), getattr(again, field.name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"structure_offsets": np.array([0, 2, 2], np.int64)}, "structure_offsets"),
        ({"chain_offsets": np.array([0, 3, 8, 11], np.int64)}, "chain_offsets"),
        ({"points_A": np.full((12, 3), np.nan, np.float32)}, "finite"),
        ({"residues": np.full(12, 29, np.uint8)}, "without a name"),
        ({"residues": np.zeros(11, np.uint8)}, "11 residues"),
        ({"split": np.array([0, 3], np.int8)}, "split"),
        ({"split": np.array([0], np.int8)}, "2 ids"),
    ],
)
def test_contradictions_are_refused(tmp_path, change, words):
    replace(corpus_of((3, 5), (4,)), **change).save(tmp_path / "c.npz")
    with pytest.raises(InputError, match=words):
        Corpus.load(tmp_path / "c.npz")


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", ids=np.array(["a"]))
    np.savez(tmp_path / "pickle.npz", **(corpus_of((3,)).__dict__ | {"ids": np.array(["a"], object)}))
    np.savez(tmp_path / "kind.npz", **(corpus_of((3,)).__dict__ | {"split": np.zeros(1, np.float32)}))
    np.save(tmp_path / "single.npy", np.zeros(3))
    corpus_of((300, 200)).save(tmp_path / "whole.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:2000])
    for name in ("text.npz", "other.npz", "pickle.npz", "kind.npz", "single.npy", "cut.npz", "absent.npz"):
        with pytest.raises(InputError):
            Corpus.load(tmp_path / name)
