"""Ab initio from random orientations, end to end on stacks made here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from tests.crosscheck.relion import varied_optics
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Optics, Particles, Poses, Result, SilentJournal, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.evaluate.poses import PoseErrors, compare_poses
from vitreous.fourier.resize import resize_map
from vitreous.geometry.rotations import random_rotations, rotation_from_vector
from vitreous.methods.registry import get
from vitreous.methods.search import appraisal
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.method import Search
from vitreous.methods.search.schedule import schedule, shift_grid
from vitreous.methods.search.starts import GivenStarts
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.align_maps import mirror_map
from vitreous.reconstruct.backprojection import solve
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.known_poses import back_project_halves, split_half_sets
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import Phantom

BOX, PIXEL_SIZE_A, N = 32, 6.4, 800
QUICK = SearchConfig(refine_iterations=4, search_radius=11.0, patience=0)
PATHS: tuple[EStep, ...] = ("products", "rings")
SHORT = replace(QUICK, iterations=20, refine_iterations=3)


@dataclass(frozen=True)
class Stack:
    particles: Particles
    truth: Poses


@lru_cache(maxsize=1)
def phantom_stack() -> Stack:
    """The phantom at SNR 0.3, with CTFs and shifts of ± 1.5 px."""
    generator = torch.Generator().manual_seed(0)
    density = atoms_to_density(Phantom().atoms(), DensityGrid(BOX, PIXEL_SIZE_A, 2.2 * PIXEL_SIZE_A)).values.float()
    shifts_A = 1.5 * PIXEL_SIZE_A * (2 * torch.rand(N, 2, generator=generator) - 1)
    truth = Poses(random_rotations(N, generator), shifts_A)
    optics = varied_optics(N)
    images = render(FourierVolume.from_map(density), truth, optics, PIXEL_SIZE_A)
    images = images * float((0.3 / images.var()).sqrt()) + torch.randn(images.shape, generator=generator)
    return Stack(particles_of(images, optics), truth)


def particles_of(images: torch.Tensor, optics: Optics) -> Particles:
    ids = np.array([f"{i + 1:06d}@stack.mrcs" for i in range(len(images))])
    return Particles(ArraySource(images, PIXEL_SIZE_A), optics, ids)


@lru_cache(maxsize=1)
def phantom_result() -> Result:
    return Search(QUICK).run(phantom_stack().particles)


def errors_of(result: Result) -> PoseErrors:
    assert result.poses is not None
    return compare_poses(result.poses, phantom_stack().truth, PIXEL_SIZE_A)


def test_poses_are_found_from_nothing() -> None:
    """Up to one rotation and the hand, which nothing in projections can tell."""
    errors = errors_of(phantom_result())
    assert errors.median_deg < 4
    assert errors.within_10_deg > 0.85
    assert errors.shift_mean_px < 0.6


@pytest.mark.slow
def test_products_and_rings_find_poses_alike() -> None:
    """Random starts are the same; scores differ by less than what tells neighbouring poses apart."""
    found = {path: errors_of(Search(replace(QUICK, estep=path)).run(phantom_stack().particles)) for path in PATHS}
    for errors in found.values():
        assert errors.median_deg < 4
        assert errors.within_10_deg > 0.85
    assert found["rings"].median_deg == pytest.approx(found["products"].median_deg, rel=0.15)
    assert found["rings"].within_10_deg > found["products"].within_10_deg - 0.03


class Recorder(SilentJournal):
    """Keeps the names of the stages that are logged."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def log(self, metrics) -> None:
        self.stages.append(str(metrics["stage"]))


@pytest.mark.slow
def test_given_starts_shorten_the_march_as_far_as_they_agree() -> None:
    """Maps of the halves with poses 12° off, in a smaller box; the first is mirrored, the search does not mind."""
    particles, truth = phantom_stack().particles, phantom_stack().truth
    half_sets = split_half_sets(particles, 0)
    off = rotation_from_vector(0.12 * torch.randn(N, 3, generator=torch.Generator().manual_seed(4)))
    rough = Poses(off @ truth.rotations, truth.shifts_A)
    grids = back_project_halves(particles, rough, half_sets, "C1", SilentProgress(), radius=9.0)
    voxel_A = BOX * PIXEL_SIZE_A / grids[0].box
    first, second = (Volume(solve(grid) * BOX, voxel_A) for grid in grids)
    halved = replace(particles, half_sets=half_sets)
    count = {}
    for shell in (8.0, 99.0):
        journal = Recorder()
        starts = GivenStarts((mirror_map(first), second), shell)
        result = Search(SHORT).run(halved, journal=journal, starts=starts)
        count[shell] = journal.stages.count("start 1")
        errors = errors_of(result)
        assert errors.median_deg < 4
        assert errors.within_10_deg > 0.85
    steps = [step.radius for step in schedule(SHORT)]
    assert count[8.0] == sum(radius >= 8 for radius in steps)
    assert count[99.0] == sum(radius >= 10 for radius in steps)  # four fifths of the way from 6 to 11


def test_result_is_complete_and_judged_solved() -> None:
    result = phantom_result()
    assert result.verdict == "solved"
    assert result.metrics["independent_halves"] == 1
    assert result.metrics["searches"] in (2, 4)
    assert result.volume is not None
    assert result.volume.box == BOX
    assert result.half_maps is not None
    assert result.half_sets is not None
    assert sorted(torch.bincount(result.half_sets)[1:].tolist()) == [N // 2, N // 2]
    assert result.resolution_A is not None
    assert result.resolution_A < 25
    assert float(result.scores["log_likelihood"].median()) > 0
    assert float(result.scores["effective_poses"].min()) >= 1
    assert bool(((result.scores["max_probability"] > 0) & (result.scores["max_probability"] <= 1.0001)).all())


@pytest.mark.slow
def test_noise_is_judged_failed() -> None:
    images = torch.randn(250, BOX, BOX, generator=torch.Generator().manual_seed(3))
    made = Search(replace(QUICK, minibatch=40, refine_iterations=2)).run(particles_of(images, varied_optics(250)))
    assert made.verdict == "failed"
    assert made.warnings


def test_same_seed_same_result_and_inputs_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appraisal, "LITTLE_EXPLAINED", 0.0)  # looking for junk as well takes as long again
    particles = phantom_stack().particles.select(torch.arange(200))
    before = particles.images().clone()
    config = replace(QUICK, iterations=6, refine_iterations=1, starts=1, search_radius=8.0, diameter_A=180.0)
    first, second, other = (Search(replace(config, seed=seed)).run(particles) for seed in (5, 5, 6))
    for name in ("rotations", "shifts_A"):
        assert torch.equal(getattr(first.poses, name), getattr(second.poses, name))
        assert not torch.equal(getattr(first.poses, name), getattr(other.poses, name))
    assert torch.equal(first.volume.values, second.volume.values)
    assert torch.equal(particles.images(), before)


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"iterations": 2}, "--iterations"),
        ({"minibatch": 3}, "--minibatch"),
        ({"start_radius": 1.0}, "--start-radius"),
        ({"start_radius": 50.0}, "^--start-radius.*less than --search-radius, which is 12, found 50"),
        ({"search_radius": 5.0}, "^--search-radius.*more than --start-radius, which is 6"),
        ({"search_radius": 500.0}, "^--search-radius"),
        ({"start_radius": float("nan")}, "^--start-radius"),
        ({"search_radius": float("nan")}, "^--search-radius"),
        ({"shift_range_share": 0.4}, "--shift-range-share"),
        ({"refine_iterations": 0}, "--refine-iterations"),
        ({"diameter_A": -10.0}, "--diameter"),
        ({"symmetry": "Q7"}, "Q7"),
        ({"symmetry": "automatic"}, "AUTOMATIC"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_their_flag(settings: dict[str, float | str], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        SearchConfig(**settings)


def test_too_few_particles_and_too_small_boxes_are_refused() -> None:
    few = phantom_stack().particles.select(torch.arange(50))
    with pytest.raises(InputError, match="too few particles"):
        Search(QUICK).run(few)
    small = particles_of(torch.randn(150, 16, 16), varied_optics(150))
    with pytest.raises(InputError, match="box is too small"):
        Search(QUICK).run(small)


@pytest.mark.parametrize(("box", "other"), [(24, 32), (24, 33), (32, 24)])
def test_resizing_keeps_slices(box: int, other: int) -> None:
    """Coefficients that both boxes hold keep their values."""
    values = torch.randn(box, box, box, generator=torch.Generator().manual_seed(0))
    k = 8
    first, second = (
        torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(m))) for m in (values, resize_map(values, other))
    )
    a, b = box // 2, other // 2
    near = (slice(a - k, a + k + 1),) * 3
    torch.testing.assert_close(
        second[tuple(slice(b - k, b + k + 1) for _ in range(3))], first[near], atol=2e-3, rtol=1e-3
    )


def test_schedule_rises_in_radius_and_memory_and_ends_at_the_likelihood() -> None:
    steps = schedule(SearchConfig())
    for name in ("radius", "memory"):
        column = [getattr(step, name) for step in steps]
        assert column == sorted(column)
    assert (steps[0].radius, steps[-1].radius) == (6.0, 12.0)
    broad = [step.effective_poses for step in steps if step.effective_poses is not None]
    assert broad == sorted(broad, reverse=True)
    assert steps[-1].effective_poses is None
    assert not steps[0].with_shifts
    assert steps[-1].with_shifts


def test_shift_grid_covers_its_range() -> None:
    grid = shift_grid(64, 10.0, 0.1, None)
    assert float(grid.abs().max()) == pytest.approx(6.4, abs=64 / (3.5 * 10) / 2 + 1e-4)
    assert len(grid.unique(dim=0)) == len(grid)
    assert torch.equal(shift_grid(64, 10.0, 0.0, None), torch.zeros(1, 2))


def test_methods_are_found_by_name_and_misspellings_are_guessed() -> None:
    found: Callable[..., object] = get("search")
    assert found is Search
    with pytest.raises(ConfigError, match="Did you mean search"):
        get("serch")
