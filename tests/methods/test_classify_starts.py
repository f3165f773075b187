"""Classes that begin from given maps, and classes with a point group."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from tests.crosscheck.relion import varied_optics
from tests.methods.test_classify import BOX, EACH, QUICK, Memory, matched_optics, species, store_of
from tests.reconstruct.scenes import PIXEL_SIZE_A, Scene, make_scene
from tests.reconstruct.test_symmetry_axes import symmetric_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Particles, Poses, ResolutionCurves, Result, SilentJournal, Volume
from vitreous.errors import ConfigError
from vitreous.evaluate.poses import compare_poses
from vitreous.fourier.resize import resize_map
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.abinitio import AbInitio, variant_of
from vitreous.methods.search.class_starts import ClassFinder, ClassStarts, GivenClasses
from vitreous.methods.search.class_verdict import ClassEvidence, judge_classes
from vitreous.methods.search.classify import Classify, ClassifyConfig, _ClassifyRun
from vitreous.methods.search.given import at_image_scale
from vitreous.methods.search.method import START_LEFT
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.backprojection import working_box
from vitreous.typing import Map

RADIUS = 6.0
START_A = BOX * PIXEL_SIZE_A / RADIUS
SEARCH = replace(QUICK, start_A=START_A).search()


def volume(seed: int) -> Volume:
    return Volume(species(seed).map(BOX).float(), PIXEL_SIZE_A)


def test_classes_begin_from_their_own_maps() -> None:
    store = store_of(matched_optics()[0])
    search = AbInitio(store, SEARCH, 20.0, torch.Generator().manual_seed(0), classes=2)
    maps = [species(seed).map(search.box).float() for seed in (1, 2)]
    values = search._start_from(maps, 8.0).values
    near = torch.corrcoef(torch.stack([v.flatten() for v in (*values, *maps)]))[:2, 2:]
    assert float(near.diagonal().min()) > float(near.flip(0).diagonal().max()) + 0.2


def test_one_map_for_all_classes_is_varied_so_that_they_can_part(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Sequence[Map], float]] = []

    def run(self, progress, journal, name=1, start=None, *, start_shell=0.0):
        seen.append((start, start_shell))
        return start

    monkeypatch.setattr(AbInitio, "run", run)
    store = store_of(matched_optics()[0])
    finder = ClassFinder(SEARCH, 20.0, (SilentProgress(), SilentJournal()), 3)
    for maps in ([volume(1).values], [volume(seed).values for seed in (1, 2, 3)]):
        finder._search(store, GivenClasses(maps, RADIUS))
        begin = torch.stack([one.flatten() for one in seen[-1][0]])
        assert len(begin) == 3
        assert seen[-1][1] == RADIUS
        assert float((torch.corrcoef(begin) - torch.eye(3)).max()) < 0.95


def test_a_variant_shares_the_shape_and_not_the_detail() -> None:
    values = volume(1).values
    curve = fsc(values, variant_of(values, torch.Generator().manual_seed(0)))
    assert float(curve[1]) > 0.9
    assert float(curve[4:12].mean()) < 0.85


def found_from(given: tuple[int, int], control: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> ClassStarts | None:
    """What searches lead to that end with some species where maps are given, and with others where none are."""
    stores = tuple(store_of(matched_optics()[0].select(torch.arange(half, 2 * EACH, 2) // 2)) for half in (0, 1))
    box = working_box(SEARCH.search_radius)

    def ended(seeds: tuple[int, int]) -> tuple[list[Map], torch.Tensor]:
        scaled = [at_image_scale(volume(seed).values, stores[0], SEARCH.search_radius, 0) for seed in seeds]
        return [resize_map(values, box) for values in scaled], torch.ones(12)

    monkeypatch.setattr(
        ClassFinder, "_search", lambda self, store, maps=None: ended(control if maps is None else given)
    )
    finder = ClassFinder(SEARCH, 20.0, (SilentProgress(), SilentJournal()), 2)
    return finder.from_given((stores[0], stores[1]), GivenClasses([volume(seed).values for seed in given], RADIUS))


@pytest.mark.slow
def test_given_classes_that_random_orientations_outdo_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_from((5, 6), (1, 2), monkeypatch) is None


@pytest.mark.slow
def test_a_class_that_only_its_map_leads_to_is_kept_with_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control finds the first class, and something else for the second."""
    kept = found_from((1, 2), (6, 1), monkeypatch)
    assert kept is not None
    assert kept.shared_radius == RADIUS
    assert float(kept.agreement_shells[0]) == SEARCH.search_radius
    assert float(kept.agreement_shells[1]) < 8
    assert not torch.equal(kept.maps[0, 0], kept.maps[0, 1])


def made_to(shell: float) -> Result:
    shells = torch.arange(BOX // 2 + 1)
    curve = torch.where(shells < shell, 1.0, 0.0).double()
    return Result(curves=ResolutionCurves(shells.double() / (BOX * PIXEL_SIZE_A), curve))


@pytest.mark.parametrize(
    ("shells", "shared", "reached", "expected"),
    [
        ((10.0, 7.0), 0.0, 12.0, []),
        ((10.0, 7.0), 6.0, 12.0, ["Class 2 was found from the given maps only"]),
        ((10.0, 5.0), 0.0, 12.0, ["Class 2 was found in one half of the particles only"]),
        ((10.0, 10.0), 9.0, 8.5, ["There is no trustworthy map", "No class has half-maps that agree"]),
    ],
)
def test_verdict_on_classes_counts_what_their_maps_gave_them(
    shells: tuple[float, float], shared: float, reached: float, expected: list[str]
) -> None:
    sure = torch.tensor([[1.0, 0.0]] * 10)
    evidence = ClassEvidence(torch.tensor([600, 400]), torch.tensor(shells), sure, shared)
    verdict, reasons = judge_classes([made_to(reached)] * 2, evidence, 10.0)
    assert verdict == ("solved" if not expected else "failed" if reached < shared else "ambiguous")
    assert len(reasons) == min(len(expected), 1)
    assert all(any(part in reason for part in expected) for reason in reasons)


def test_numbers_of_maps_and_groups_that_cannot_work_are_refused() -> None:
    particles = matched_optics()[0]
    with pytest.raises(ConfigError, match="--classes 3"):
        Classify(replace(QUICK, classes=4)).run(particles, starts=[volume(1)] * 3)
    with pytest.raises(ConfigError, match="--start"):
        Classify(replace(QUICK, start_A=30.0)).run(particles, starts=[volume(1)])  # 30 Å are below the fourth pixel
    with pytest.raises(ConfigError, match="abinitio --symmetry auto"):
        ClassifyConfig(symmetry="auto")
    with pytest.raises(ConfigError, match="Q7"):
        ClassifyConfig(symmetry="Q7")


@lru_cache(maxsize=1)
def symmetric_mixture() -> tuple[Particles, list[Scene]]:
    """Two species with C4 at SNR 1, half of the particles each."""
    optics = varied_optics(EACH)
    scenes = [
        make_scene(EACH, BOX, snr=1.0, optics=optics, blobs=symmetric_blobs("C4", seed=s), seed=s) for s in (1, 2)
    ]
    images = torch.cat([scene.particles.images() for scene in scenes])
    ids = np.array([f"{i + 1:06d}@mix.mrcs" for i in range(2 * EACH)])
    rows = torch.arange(EACH)
    return Particles(ArraySource(images, PIXEL_SIZE_A), optics.select(torch.cat([rows, rows])), ids), scenes


def test_every_class_is_brought_onto_axes_of_its_own() -> None:
    """Each in a random frame; maps and poses move together, and the journal holds a frame for each."""
    particles = symmetric_mixture()[0]
    generator = torch.Generator().manual_seed(3)
    turned = [symmetric_blobs("C4", seed=s).rotated(random_rotations(1, generator)[0]).map(BOX).float() for s in (1, 2)]
    maps = torch.stack([torch.stack([*turned, torch.zeros(BOX, BOX, BOX)])] * 2)
    poses = {
        "rotations": random_rotations(12, generator).view(4, 3, 3, 3),
        "shifts_px": torch.randn(4, 3, 2, generator=generator),
        "log_evidence": torch.zeros(4, 3),
    }
    config = replace(QUICK, classes=3, symmetry="C4")
    journal = Memory()
    run = _ClassifyRun(config, particles, SilentProgress(), journal)
    after, moved = run._on_axes({"maps": maps}, poses)
    for c in (0, 1):
        values = after["maps"][0, c, 1:, 1:, 1:]
        assert float(fsc(values, values.rot90(1, (1, 2)))[1:8].min()) > 0.95
        assert run.symmetry_agreement[c] > 0.95
        before, now = (
            render(
                FourierVolume.from_map(m[0, c]),
                Poses(p["rotations"][:, c], p["shifts_px"][:, c]),
                varied_optics(4),
                1.0,
            )
            for m, p in ((maps, poses), (after["maps"], moved))
        )
        assert float((now - before).norm() / before.norm()) < 0.1
    assert torch.equal(after["maps"][:, 2], maps[:, 2])
    assert 2 not in run.symmetry_agreement
    again = _ClassifyRun(config, particles, SilentProgress(), journal)._on_axes({"maps": maps}, poses)[1]
    assert torch.equal(again["rotations"], moved["rotations"])


def test_classes_from_maps_in_frames_of_their_own_end_on_the_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything after the stochastic search, whose maps have C4 about other axes than RELION's."""
    particles, scenes = symmetric_mixture()

    def starts(self: _ClassifyRun, given: Sequence[Volume]) -> dict[str, torch.Tensor]:
        turns = random_rotations(2, torch.Generator().manual_seed(5))
        blobs = [symmetric_blobs("C4", seed=seed).rotated(turn) for seed, turn in zip((1, 2), turns, strict=True)]
        maps = torch.stack([at_image_scale(b.map(BOX).float(), self.store, 10.0, 0) for b in blobs])
        numbers = {"revivals": 0.0, "shared_radius": 0.0, "given": float(len(given))}
        return {
            "maps": torch.stack([maps, maps]),
            "noise": torch.ones(12),
            "agreement_shells": torch.full((2,), 10.0),
            **{name: torch.tensor([value]) for name, value in numbers.items()},
        }

    monkeypatch.setattr(_ClassifyRun, "_starts", starts)
    result = Classify(replace(QUICK, symmetry="C4", rounds=2)).run(particles)
    assert result.symmetry == "C4"
    kind = torch.arange(2 * EACH) // EACH
    first = float(((result.classes == 1) == (kind == 0)).float().mean())
    assert max(first, 1 - first) > 0.9
    for number, k in enumerate((1, 2) if first > 0.5 else (2, 1)):
        mine = torch.nonzero((result.classes == k) & (kind == number))[:, 0]
        found = Poses(result.poses.rotations[mine], result.poses.shifts_A[mine])
        true = scenes[number].poses
        truth = Poses(true.rotations[mine - number * EACH], true.shifts_A[mine - number * EACH])
        assert compare_poses(found, truth, PIXEL_SIZE_A, "C4").median_deg < 4
        values = result.class_volumes[k - 1].values[1:, 1:, 1:]
        assert float(fsc(values, values.rot90(1, (1, 2)))[1:9].min()) > 0.95
        assert result.metrics[f"class_{k}_symmetry_agreement"] > 0.95


@pytest.mark.slow
def test_right_maps_are_kept_and_named() -> None:
    particles, kind = matched_optics()
    result = Classify(replace(QUICK, start_A=START_A)).run(particles, starts=[volume(1), volume(2)])
    first = float(((result.classes == 1) == (kind == 0)).float().mean())
    assert max(first, 1 - first) > 0.95
    assert START_LEFT not in result.warnings
    assert result.metrics["independent_beyond_A"] == pytest.approx(START_A)
    assert result.metrics["class_1_start_map"] == (1 if first > 0.5 else 2)
