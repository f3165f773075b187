"""Structures drawn on the fly: their frame, their pieces, their mass, their reproducibility."""

import pytest
import torch

from vitreous.methods.fastar.scenes import Blobs, CorpusScenes, Mixed, Scenes, normalised
from vitreous.methods.fastar.views import FIELD_PER_DIAMETER

SIZES = (150, 400, 1000)
APART_A = 1e5


def corpus(generator: torch.Generator, composite: float) -> CorpusScenes:
    """Three round structures of 60 Å, far from each other; the second is symmetric."""
    points = [20 * torch.randn(size, 3, generator=generator).clamp(-2, 2) for size in SIZES]
    return CorpusScenes(
        points_A=torch.cat([p + k * APART_A for k, p in enumerate(points)]),
        masses=torch.ones(sum(SIZES)),
        starts=torch.tensor([0, *torch.tensor(SIZES).cumsum(0).tolist()]),
        whole=torch.tensor([0, 2]),
        composite=composite,
    )


def sources(generator: torch.Generator) -> dict:
    return {"blobs": Blobs(), "corpus": corpus(generator, 0.5), "mixed": Mixed(Blobs(), corpus(generator, 0.5), 0.5)}


@pytest.mark.parametrize("kind", ["blobs", "corpus", "mixed"])
def test_scenes_are_centred_on_their_mass_and_fill_the_diameter(kind: str, generator: torch.Generator) -> None:
    scenes = sources(generator)[kind].draw(9, 120, generator)
    assert scenes.beads.shape == (9, 120, 3)
    centre = (scenes.weights[..., None] * scenes.beads).sum(1) / scenes.weights.sum(1)[:, None]
    torch.testing.assert_close(centre, torch.zeros(9, 3), atol=1e-4, rtol=0)
    radius = scenes.beads.norm(dim=-1).amax(1)
    torch.testing.assert_close(2 * radius * FIELD_PER_DIAMETER, torch.ones(9), atol=1e-5, rtol=0)
    assert (scenes.weights > 0).all()
    assert (scenes.diameter_A > 0).all()


@pytest.mark.parametrize("kind", ["blobs", "corpus", "mixed"])
def test_same_seed_draws_the_same_scenes(kind: str, generator: torch.Generator) -> None:
    source = sources(generator)[kind]
    first, again, other = (source.draw(5, 64, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    for a, b in zip(vars(first).values(), vars(again).values()):
        assert torch.equal(a, b)
    assert not torch.equal(first.beads, other.beads)


def test_blobs_have_diameters_of_particles(generator: torch.Generator) -> None:
    diameters = Blobs().draw(500, 32, generator).diameter_A
    assert diameters.min() >= 90
    assert diameters.max() <= 450
    assert float(diameters.log().mean().exp()) == pytest.approx((90 * 450) ** 0.5, rel=0.1)  # log-uniform


@pytest.mark.parametrize("beads", [90, 240])
def test_pieces_lie_within_one_structure(beads: int, generator: torch.Generator) -> None:
    """The structures are 10⁵ Å apart: a piece that ran over an end would be as large."""
    for composite in (0.0, 1.0):
        scenes = corpus(generator, composite).draw(200, beads, generator)
        assert float(scenes.diameter_A.min()) > 60
        assert float(scenes.diameter_A.max()) < 1500


def test_only_asymmetric_structures_are_drawn_whole_and_with_all_their_mass(generator: torch.Generator) -> None:
    scenes = corpus(generator, 0.0).draw(60, 100, generator)
    masses = scenes.weights.sum(1)
    small, large = (torch.isclose(masses, torch.tensor(float(SIZES[k]))) for k in (0, 2))
    assert (small | large).all()
    assert 15 < int(small.sum()) < 45


def test_composites_have_one_to_three_pieces_with_the_mass_of_each(generator: torch.Generator) -> None:
    scenes = corpus(generator, 1.0).draw(300, 90, generator)
    kinds = torch.tensor([len(w.unique()) for w in scenes.weights])  # a weight per piece: its residues over its points
    assert set(kinds.tolist()) == {1, 2, 3}
    masses = scenes.weights.sum(1)
    assert float(masses.min()) >= 100 - 1e-3  # pieces of 100 residues and more
    assert float(masses.max()) <= 3 * SIZES[2]


def test_pieces_are_contiguous_stretches(generator: torch.Generator) -> None:
    """Residues along a straight line: points of a piece keep their order and spacing."""
    line = torch.arange(2000.0)[:, None] * torch.tensor([3.0, 0, 0])
    source = CorpusScenes(line, torch.ones(2000), torch.tensor([0, 2000]), torch.tensor([0]), composite=1.0)
    scenes = source.draw(100, 60, generator)
    single = torch.tensor([len(w.unique()) == 1 for w in scenes.weights])
    assert single.any()
    beads = scenes.beads[single] * (scenes.diameter_A[single] * FIELD_PER_DIAMETER)[:, None, None]
    steps = (beads[:, 1:] - beads[:, :-1]).norm(dim=-1)
    ends = (beads[:, -1] - beads[:, 0]).norm(dim=-1)
    torch.testing.assert_close(steps.sum(1), ends, rtol=1e-3, atol=0)
    assert (steps.amax(1) < 2.1 * ends / 59).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixture_keeps_its_share(share: float, generator: torch.Generator) -> None:
    """Told apart by the mass: blobs have weights of 0.5 to 1.5 per point."""
    source = Mixed(corpus(generator, 0.0), Blobs(), share)
    of_corpus = []
    for _ in range(100):
        scenes = source.draw(3, 100, generator)
        of_corpus.append(int((scenes.weights.std(1) < 1e-3).sum()))
    assert sum(of_corpus) / 300 == pytest.approx(share, abs=0.06)
    assert set(of_corpus) <= {int(3 * share), int(3 * share) + 1}


def test_points_without_weight_do_not_count(generator: torch.Generator) -> None:
    points = 50 * torch.randn(2, 40, 3, generator=generator) + 1000
    weights = torch.rand(2, 40, generator=generator) + 0.1
    padded = normalised(torch.cat([points, torch.zeros(2, 9, 3)], 1), torch.nn.functional.pad(weights, (0, 9)))
    plain = normalised(points, weights)
    torch.testing.assert_close(padded.diameter_A, plain.diameter_A)
    torch.testing.assert_close(padded.beads[:, :40], plain.beads)
    assert (padded.beads.norm(dim=-1) <= 0.5 / FIELD_PER_DIAMETER + 1e-6).all()


def test_corpus_moves_to_a_device_once(generator: torch.Generator) -> None:
    source = corpus(generator, 0.2)
    first, second = source.on("meta", 0.3), source.on("meta", 0.7)
    assert first.points_A is second.points_A
    assert (first.composite, second.composite) == (0.3, 0.7)
    assert source.on("cpu", 0.2).points_A is source.points_A


def test_corpora_on_a_device_are_not_mixed_up() -> None:
    for n in range(1, 40):  # each is gone before the next is made, so that identities are given out again
        source = CorpusScenes(torch.zeros(n, 3), torch.ones(n), torch.tensor([0, n]), torch.tensor([0]))
        assert source.on("meta", 0.5).points_A.shape == (n, 3)
        del source


def test_scenes_are_left_as_they_were(generator: torch.Generator) -> None:
    points, weights = torch.randn(2, 10, 3, generator=generator), torch.rand(2, 10, generator=generator)
    before = points.clone(), weights.clone()
    assert isinstance(normalised(points, weights), Scenes)
    assert torch.equal(points, before[0])
    assert torch.equal(weights, before[1])
