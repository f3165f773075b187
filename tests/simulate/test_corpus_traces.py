"""Archives of Cα traces, and the corpus that is built from them."""

import csv
import gzip
import json

import numpy as np
import pytest

from tests.simulate.structure_files import random_walk
from vitreous.compute.progress import SilentProgress
from vitreous.errors import InputError
from vitreous.simulate.corpus import SPLITS
from vitreous.simulate.corpus_build import build_corpus
from vitreous.simulate.curation import CurationConfig
from vitreous.simulate.curation_traces import TraceArchive, curate_traces, sequences_of_traces
from vitreous.simulate.families import distinct_chains
from vitreous.simulate.homology import HomologyRule, homologues
from vitreous.simulate.tally import Tally

NAMES = ("GLY", "ALA", "TRP", "UNK", "U")
HALF_TURN = [-1.0, 0, 0, 4.0, 0, -1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]
IDENTITY = np.eye(4).flatten().tolist()


def write_archive(folder, entries):
    """Write an archive of entries: (id, chains of residue numbers, transforms, deposited, resolution)."""
    codes = [np.concatenate(chains) for _, chains, *_ in entries]
    chain = [np.repeat(np.arange(len(chains)), [len(c) for c in chains]) for _, chains, *_ in entries]
    points = [random_walk(len(c), k) for k, c in enumerate(codes)]
    np.savez(
        folder / "ca_traces.npz",
        ids=np.array([entry[0] for entry in entries]),
        offsets=np.cumsum([0, *map(len, codes)]),
        xyz_tenth_angstrom=np.round(np.concatenate(points) * 10).astype(np.int16),
        res=np.concatenate(codes).astype(np.uint8),
        resnames=np.array(NAMES),
        chain=np.concatenate(chain).astype(np.uint16),
    )
    stored = {entry[0]: {"center": [7.0, 0, 0], "transforms": entry[2]} for entry in entries}
    with gzip.open(folder / "assembly1.json.gz", "wt") as file:
        json.dump(stored, file)
    with (folder / "entries.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["pdb_id", "deposited", "resolution"])
        rows.writerows([entry[0], *entry[3:]] for entry in entries)
    return points


def whole(*numbers):
    return [{"chains": list(numbers), "m": IDENTITY}]


@pytest.fixture
def archive(tmp_path):
    known, unknown = np.tile([0, 1, 2], 4), np.full(5, 3)
    write_archive(
        tmp_path,
        [
            ("KEPT", [known, unknown, np.full(6, 4)], whole(0, 1, 2), "2001-01-01", "2.5"),
            ("DIME", [known, known], [*whole(0), {"chains": [0], "m": HALF_TURN}], "2001-01-01", "2.5"),
            ("TWIC", [known], [*whole(0), *whole(0)], "2001-01-01", "2.5"),
            ("LATE", [known], whole(0), "2022-01-01", "2.5"),
            ("NMR1", [known], whole(0), "2001-01-01", ""),
            ("TINY", [known[:4]], whole(0), "2001-01-01", "2.5"),
        ],
    )
    return tmp_path


def test_assembly_has_every_copy_where_the_matrix_puts_it(archive):
    trace = TraceArchive.read(archive).assembly(1)
    assert np.diff(trace.offsets).tolist() == [12, 12]
    first = np.round(random_walk(24, 1)[:12] * 10) / 10 + np.array([7, 0, 0])
    np.testing.assert_allclose(trace.xyz_A[:12], first)
    np.testing.assert_allclose(trace.xyz_A[12:], first * (-1, -1, 1) + np.array([4, 0, 0]))


def test_rules_are_counted(archive):
    tally = Tally()
    kept = list(curate_traces(archive, CurationConfig(min_residues=10), tally, SilentProgress()))
    assert [(trace.name, np.diff(trace.offsets).tolist()) for trace in kept] == [
        *[("KEPT", [12, 6]), ("DIME", [12, 12]), ("TWIC", [12])],
    ]
    structures = {rule: row["structures"] for rule, row in tally.counts.items() if row["structures"]}
    assert structures == {"read": 6, "released too late": 1, "no resolution reported": 1, "too few residues": 1}
    chains = {rule: (row["chains"], row["residues"]) for rule, row in tally.counts.items() if row["chains"]}
    assert chains == {"chains of unknown residues": (1, 5), "clashing chains": (1, 12)}


def test_nucleic_acids_go_on_request(archive):
    config = CurationConfig(min_residues=10, nucleic_acids=False)
    kept = next(curate_traces(archive, config, Tally(), SilentProgress()))
    assert np.diff(kept.offsets).tolist() == [12]


def test_every_chain_is_there_to_exclude(archive):
    assert [len(codes) for codes in sequences_of_traces(archive)] == [12, 5, 6, 12, 12, 12, 12, 12, 12, 4]


@pytest.mark.parametrize("name", ["assembly1.json.gz", "entries.csv", "ca_traces.npz"])
def test_damaged_archives_are_refused(archive, name):
    (archive / name).write_bytes(b"PK\x03\x04 damaged" if name.endswith("npz") else b"")
    with pytest.raises(Exception, match=name) as caught:
        TraceArchive.read(archive)
    assert type(caught.value).__module__ == "vitreous.errors"


def test_empty_and_absent_folders_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="folder"):
            build_corpus(folder, CurationConfig(), HomologyRule())


@pytest.fixture(scope="module")
def some_entries(shared_data, tmp_path_factory):
    """The first 130 entries of the real archive."""
    folder = tmp_path_factory.mktemp("archive")
    with np.load(shared_data / "corpus" / "ca_traces.npz") as file:
        arrays = {name: file[name] for name in file.files}
    end = int(arrays["offsets"][130])
    cut = {"ids": arrays["ids"][:130], "offsets": arrays["offsets"][:401], "resnames": arrays["resnames"]}
    np.savez(folder / "ca_traces.npz", **cut, **{k: arrays[k][:end] for k in ("xyz_tenth_angstrom", "res", "chain")})
    for name in ("assembly1.json.gz", "entries.csv"):
        (folder / name).symlink_to(shared_data / "corpus" / name)
    return folder


def test_real_splits_share_no_homologues(some_entries):
    """Every test chain is aligned with every other chain of the corpus."""
    rule = HomologyRule()
    corpus, tally = build_corpus(some_entries, CurationConfig(), rule)
    taken = sum(row["structures"] for name, row in tally.counts.items() if name not in ("read", "kept"))
    assert tally.of("read") == 130 == tally.of("kept") + taken
    assert len(corpus) == tally.of("kept")
    assert sum(len(corpus.subset(split)) for split in SPLITS) == len(corpus)

    def chains(indices):
        numbers = [j for i in indices for j in range(corpus.structure_offsets[i], corpus.structure_offsets[i + 1])]
        parts = [corpus.residues[corpus.chain_offsets[j] : corpus.chain_offsets[j + 1]] for j in numbers]
        return distinct_chains([(0, part) for part in parts], rule)[0].sequences

    tested, others = chains(corpus.subset("test")), chains(np.flatnonzero(corpus.split != 2))
    assert len(tested) >= 5
    assert all(len(homologues(codes, others, rule)) == 0 for codes in tested)


def test_real_structures_have_the_geometry_of_chains(some_entries):
    """Neighbouring Cα of a protein lie 3.8 Å apart; the centre of mass is the origin."""
    traces = list(curate_traces(some_entries, CurationConfig(), Tally(), SilentProgress()))
    steps = np.concatenate(
        [np.linalg.norm(np.diff(part, axis=0), axis=1) for t in traces for part in np.split(t.xyz_A, t.offsets[1:-1])]
    )
    assert np.median(steps) == pytest.approx(3.8, abs=0.05)
    assert max(np.linalg.norm(trace.xyz_A.mean(0)) for trace in traces) < 5
