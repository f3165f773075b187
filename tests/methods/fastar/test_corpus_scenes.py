"""A corpus as scenes: splits kept apart, symmetric structures never whole, mass where it was."""

import numpy as np
import pytest
import torch

from vitreous.methods.fastar.corpus_scenes import LEAST_RESIDUES, training_scenes, trial_scenes
from vitreous.methods.fastar.views import FIELD_PER_DIAMETER
from vitreous.simulate.corpus import RESIDUE_NAMES, Corpus

SIZES = (400, 350, 900, 200, 500, 700)
SPLIT = (0, 0, 0, 1, 1, 1)
SYMMETRIC = (False, True, False, False, True, False)
MASSES_DA = {"GLY": 57.05, "TRP": 186.2}
"""Residues in a chain, from the atomic masses."""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    points = []
    for k, size in enumerate(SIZES):
        one = (30 + 5 * k) * rng.standard_normal((size, 3))
        points.append(one - one.mean(0))
    return Corpus(
        ids=np.array([f"s{k}" for k in range(len(SIZES))]),
        structure_offsets=np.arange(len(SIZES) + 1),
        chain_offsets=np.cumsum([0, *SIZES]),
        points_A=np.concatenate(points).astype(np.float32),
        residues=np.concatenate([np.full(size, RESIDUE_NAMES.index("GLY"), np.uint8) for size in SIZES]),
        residue_names=np.array(RESIDUE_NAMES),
        split=np.array(SPLIT, np.int8),
        family=np.arange(len(SIZES), dtype=np.int32),
        self_overlap=np.where(SYMMETRIC, 0.99, 0.5).astype(np.float32),
    )


def test_training_sees_the_structures_of_its_split_alone(corpus: Corpus) -> None:
    scenes = training_scenes(corpus)
    sizes = [size for size, split in zip(SIZES, SPLIT) if split == 0]
    assert scenes.starts.tolist() == [0, *np.cumsum(sizes)]
    np.testing.assert_array_equal(scenes.points_A.numpy(), corpus.points_A[: sum(sizes)])
    assert scenes.whole.tolist() == [0, 2]
    assert float(scenes.masses.mean()) == pytest.approx(1)


def test_trial_takes_large_asymmetric_structures_as_they_are(corpus: Corpus) -> None:
    names, scenes = trial_scenes(corpus, "validation", beads=100)
    assert names == ["s5"]
    assert min(SIZES) < LEAST_RESIDUES
    means = corpus.points(5).reshape(100, 7, 3).mean(1)
    means -= means.mean(0)
    assert float(scenes.diameter_A[0]) == pytest.approx(2 * np.linalg.norm(means, axis=-1).max(), rel=1e-4)
    found = scenes.beads[0].numpy() * float(scenes.diameter_A[0]) * FIELD_PER_DIAMETER
    np.testing.assert_allclose(found, means, atol=1e-2)


def test_residues_fewer_than_points_stay_single(corpus: Corpus) -> None:
    _, scenes = trial_scenes(corpus, "validation", beads=1000)
    weights = scenes.weights[0]
    assert int((weights > 0).sum()) == 700
    torch.testing.assert_close(weights[weights > 0], torch.full((700,), MASSES_DA["GLY"]), atol=0.1, rtol=0)
    found = scenes.beads[0, :700].numpy() * float(scenes.diameter_A[0]) * FIELD_PER_DIAMETER
    np.testing.assert_allclose(found, corpus.points(5), atol=1e-2)


def test_mass_does_not_depend_on_the_number_of_points(corpus: Corpus) -> None:
    totals = [float(trial_scenes(corpus, "validation", beads=n)[1].weights.sum()) for n in (50, 300, 2000)]
    assert totals == pytest.approx([700 * MASSES_DA["GLY"]] * 3, rel=1e-3)


def test_heavy_residues_weigh_more(corpus: Corpus) -> None:
    changed = corpus.residues.copy()
    changed[corpus.rows(5)][:350] = RESIDUE_NAMES.index("TRP")
    other = Corpus(**{**corpus.__dict__, "residues": changed})
    weights = trial_scenes(other, "validation", beads=2)[1].weights[0]
    assert float(weights[0] / weights[1]) == pytest.approx(MASSES_DA["TRP"] / MASSES_DA["GLY"], rel=1e-3)


def test_number_of_structures_can_be_bounded(corpus: Corpus) -> None:
    assert trial_scenes(corpus, "train", at_most=1)[0] == ["s0"]
    assert trial_scenes(corpus, "train")[0] == ["s0", "s2"]
