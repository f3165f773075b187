"""Mixtures are taken apart, from nothing, and what cannot be trusted is said."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from tests.crosscheck.relion import varied_optics
from tests.physics.blobs import Blobs, make_blobs
from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Particles, Result, SilentJournal
from vitreous.errors import ConfigError, InputError
from vitreous.methods.registry import get
from vitreous.methods.search import class_rounds
from vitreous.methods.search.abinitio import AbInitio, StochasticMaps
from vitreous.methods.search.class_rounds import ClassRounds, ClassState
from vitreous.methods.search.class_verdict import ClassEvidence, judge_classes
from vitreous.methods.search.classify import Classify, ClassifyConfig
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.refinement import Refinement, RefinementSettings
from vitreous.methods.search.second_look import SecondLook
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.expectation import References, centred_copies
from vitreous.reconstruct.maximisation import RotationSums

BOX, EACH = 32, 500
QUICK = ClassifyConfig(
    classes=2, iterations=40, minibatch=200, search_radius=10.0, rounds=3, diameter_A=20 * PIXEL_SIZE_A
)


def species(seed: int) -> Blobs:
    """Many blobs within the same sphere: particles of one size and mass."""
    return make_blobs(BOX, n=9, sigma=1.5, seed=seed)


@lru_cache(maxsize=1)
def mixture() -> tuple[Particles, torch.Tensor]:
    """Two species at SNR 1 in turn, and which one every image shows."""
    scenes = [
        make_scene(EACH, BOX, snr=1.0, optics=varied_optics(EACH), blobs=species(seed), seed=seed) for seed in (1, 2)
    ]
    order = torch.arange(2 * EACH).view(2, EACH).T.flatten()
    images = torch.cat([scene.particles.images() for scene in scenes])[order]
    ids = np.array([f"{i + 1:06d}@mix.mrcs" for i in range(2 * EACH)])
    return Particles(ArraySource(images, PIXEL_SIZE_A), varied_optics(2 * EACH), ids), order // EACH


def matched_optics() -> tuple[Particles, torch.Tensor]:
    """The mixture with the CTF that made each image."""
    particles, kind = mixture()
    own = varied_optics(EACH)
    return replace(particles, optics=own.select(torch.arange(2 * EACH) // 2)), kind


@lru_cache(maxsize=1)
def classified() -> Result:
    return Classify(QUICK).run(matched_optics()[0])


@pytest.mark.slow
def test_a_mixture_is_taken_apart() -> None:
    result, kind = classified(), matched_optics()[1]
    assert result.classes is not None
    first = float(((result.classes == 1) == (kind == 0)).float().mean())
    assert max(first, 1 - first) > 0.95
    assert result.verdict in ("solved", "ambiguous")
    assert len(result.class_volumes) == 2
    assert result.metrics["class_1_particles"] >= result.metrics["class_2_particles"]
    assert result.metrics["class_1_particles"] + result.metrics["class_2_particles"] == 2 * EACH


def check_posteriors(result: Result) -> None:
    """Posteriors are those of the classes, in their order."""
    columns = torch.stack([result.scores[f"class_posterior_{k}"] for k in (1, 2)], 1)
    assert torch.allclose(columns.sum(1), torch.ones(len(columns)), atol=1e-5)
    assert torch.equal(columns.argmax(1) + 1, result.classes)
    assert torch.equal(columns.amax(1), result.scores["max_probability"])


def store_of(particles: Particles) -> CoefficientStore:
    return CoefficientStore(particles, BOX / 2 - 1.0).load(SilentProgress())


def test_two_copies_of_a_class_share_its_weight() -> None:
    """Posterior over two equal classes: each gets half of what one would have got alone."""
    store = store_of(matched_optics()[0])
    search = AbInitio(store, SearchConfig(search_radius=8.0), 20.0, torch.Generator().manual_seed(0))
    count = store.disc.count(6.0)
    from vitreous.physics.slices import FourierVolume

    volume = FourierVolume.from_map(species(1).map(search.box).float())
    grid = search.grid[::16].contiguous()
    one = References.of(volume, grid, torch.zeros(1, 2), store.disc, count)
    both = References.joined([one, one])
    part = store.batch(torch.arange(20), count)
    copies = centred_copies(part.yc, one.phases)
    alone, shared = RotationSums(len(grid), count), RotationSums(2 * len(grid), count)
    alone.add_posterior(copies, part.c2, one, 0.05)
    shared.add_posterior(copies, part.c2, both, 0.05)
    first, second = shared.split(2)
    torch.testing.assert_close(first.mass, alone.mass / 2, atol=2e-3, rtol=2e-2)
    torch.testing.assert_close(first.mass, second.mass, atol=1e-5, rtol=1e-4)


def test_an_empty_class_begins_again_from_the_fullest() -> None:
    store = store_of(matched_optics()[0])
    search = AbInitio(store, SearchConfig(search_radius=8.0), 20.0, torch.Generator().manual_seed(0), classes=3)
    maps = [species(seed).map(search.box).float() for seed in (1, 2, 3)]
    sums = [SliceAccumulator(search.box) for _ in maps]
    state = StochasticMaps(list(maps), sums, torch.ones(9), torch.tensor([0.7, 0.29, 0.01]))
    search._revive(state)
    assert search.revivals == 1
    assert torch.equal(state.values[0], maps[0])
    assert torch.equal(state.values[1], maps[1])
    near, far = (float(torch.corrcoef(torch.stack([state.values[2].flatten(), m.flatten()]))[0, 1]) for m in maps[::2])
    assert near > 0.6
    assert near > far + 0.2
    torch.testing.assert_close(state.occupancy, torch.tensor([0.355, 0.29, 0.355]))


def test_rounds_go_on_from_what_they_saved() -> None:
    store, halves = store_of(matched_optics()[0]), torch.arange(2 * EACH) % 2 + 1
    refinement = Refinement(store, halves, RefinementSettings(20.0, "C1", 2, 8.0))
    rounds = ClassRounds(SecondLook(refinement, 6.0, 0.05, SilentProgress()))
    found = {
        "rotations": torch.eye(3).expand(2 * EACH, 2, 3, 3).clone(),
        "shifts_px": torch.zeros(2 * EACH, 2, 2),
        "log_evidence": torch.randn(2 * EACH, 2, generator=torch.Generator().manual_seed(0)),
    }
    maps = torch.stack([torch.stack([species(k).map(BOX).float() for k in (1, 2)])] * 2)
    fresh = rounds.start(found, torch.ones(8), maps)
    once = rounds.round(fresh)
    again = rounds.round(ClassState.from_tensors(fresh.tensors()))
    assert torch.equal(once.posteriors, again.posteriors)
    assert torch.equal(once.rotations, again.rotations)
    assert once.rounds == again.rounds == 1


def test_another_look_brings_particles_to_their_class() -> None:
    """Poses that no local step can mend keep particles out of the class that they belong to."""
    particles, kind = matched_optics()
    n, kind = 200, kind[:200]
    refinement = Refinement(
        store_of(particles.select(torch.arange(n))), torch.arange(n) % 2 + 1, RefinementSettings(20.0, "C1", 4, 8.0)
    )
    rounds = ClassRounds(SecondLook(refinement, 6.0, 0.05, SilentProgress()))
    found = {
        "rotations": torch.eye(3).expand(n, 2, 3, 3).clone(),
        "shifts_px": torch.zeros(n, 2, 2),
        "log_evidence": torch.zeros(n, 2),
    }
    maps = torch.stack([torch.stack([species(k).map(BOX).float() / BOX for k in (1, 2)])] * 2)
    fresh = rounds.start(found, torch.ones(int(refinement.store.disc.shell[-1]) + 1), maps)

    def share_at_home(state: ClassState) -> float:
        return float((state.posteriors.argmax(1) == kind).float().mean())

    assert share_at_home(rounds.round(fresh)) < 0.8
    assert share_at_home(rounds.round(rounds._looked_again(fresh))) > 0.95


def test_verdict_says_what_is_wrong_with_classes() -> None:
    sure = torch.tensor([[1.0, 0.0]] * 10)
    sizes, shells = torch.tensor([600, 400]), torch.tensor([10.0, 10.0])
    failed, reasons = judge_classes([None, None], ClassEvidence(sizes, shells, sure), 10.0)
    assert failed == "failed"
    assert "fewer --classes" in reasons[0]
    assert judge_classes([Result(), None], ClassEvidence(sizes, shells, sure), 10.0)[0] == "failed"


class Memory(SilentJournal):
    """Keeps what was saved last, and forgets it never."""

    def __init__(self) -> None:
        self.saved: tuple[dict[str, torch.Tensor], dict[str, object]] | None = None

    def save(self, tensors, values) -> None:
        self.saved = dict(tensors), dict(values)

    def load(self):
        return self.saved


def test_a_stopped_classification_ends_as_an_unbroken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped just before doubtful particles are searched again."""
    monkeypatch.setattr(class_rounds, "LOOK_EVERY", 1)
    particles = matched_optics()[0].select(torch.arange(300))
    config = replace(QUICK, iterations=6, minibatch=50, rounds=2)
    whole = Classify(config).run(particles)
    check_posteriors(whole)
    journal = Memory()
    Classify(replace(config, rounds=1)).run(particles, journal=journal)
    resumed = Classify(config).run(particles, journal=journal)
    assert torch.equal(whole.classes, resumed.classes)
    assert torch.equal(whole.poses.rotations, resumed.poses.rotations)


@pytest.mark.parametrize(("settings", "flag"), [({"classes": 1}, "--classes"), ({"rounds": 0}, "--rounds")])
def test_settings_that_cannot_work_are_refused(settings: dict[str, int], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        ClassifyConfig(**settings)


def test_too_few_particles_are_refused() -> None:
    with pytest.raises(InputError, match="too few particles"):
        Classify(QUICK).run(matched_optics()[0].select(torch.arange(50)))


def test_classify_is_found_by_name() -> None:
    assert get("classify") is Classify
