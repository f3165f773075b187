"""Starts of the two halves: independent where they agree, one for both where they do not."""

from dataclasses import replace

import pytest
import torch

from tests.crosscheck.relion import varied_optics
from tests.methods.test_search import BOX, QUICK, particles_of, phantom_stack
from vitreous.compute.progress import SilentProgress
from vitreous.data import Particles, Poses, SilentJournal, Volume
from vitreous.fourier.filters import low_pass
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.methods.search import starts
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.method import Search
from vitreous.methods.search.refinement import Refinement, RefinementSettings
from vitreous.methods.search.starts import Candidate, Start, StartFinder
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.align_maps import drift_between, mirror_map, rotate_map
from vitreous.reconstruct.backprojection import solve
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.known_poses import back_project_halves
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import Phantom

DIAMETER_PX = 20.0
SHORT = replace(QUICK, iterations=25, minibatch=150)
FIRST, SECOND = torch.arange(0, 400), torch.arange(400, 800)


def noise_only(count: int, seed: int) -> Particles:
    generator = torch.Generator().manual_seed(seed)
    return particles_of(torch.randn(count, BOX, BOX, generator=generator), varied_optics(count))


def store_of(particles: Particles) -> CoefficientStore:
    return CoefficientStore(particles, BOX / 2 - 1.0).load(SilentProgress())


def find(halves: tuple[CoefficientStore, CoefficientStore], config: SearchConfig) -> tuple[StartFinder, Start | None]:
    finder = StartFinder(config, DIAMETER_PX, (SilentProgress(), SilentJournal()))
    return finder, finder.from_halves(halves)


def test_a_halfs_map_depends_on_its_own_particles_alone() -> None:
    """Bit for bit: the other half may hold what it likes."""
    particles = phantom_stack().particles
    own, other, noise = (store_of(p) for p in (particles.select(FIRST), particles.select(SECOND), noise_only(400, 5)))
    quick = replace(SHORT, iterations=8, starts=1)
    maps = []
    for second in (other, noise):
        finder = StartFinder(quick, DIAMETER_PX, (SilentProgress(), SilentJournal()))
        maps.append([finder._search(store).map for store in (own, second)])
    assert torch.equal(maps[0][0], maps[1][0])
    assert not torch.equal(maps[0][1], maps[1][1])


def test_halves_of_noise_share_nothing_and_are_searched_as_often_as_allowed() -> None:
    quick = replace(SHORT, starts=2, iterations=8, minibatch=50)
    finder, start = find((store_of(noise_only(150, 1)), store_of(noise_only(150, 2))), quick)
    assert start is None
    assert finder.searches == 4


def warped(values: torch.Tensor) -> torch.Tensor:
    """A map as a search leaves it that was caught on the way: particles at orientations some of which are off."""
    turns = [rotation_from_vector(torch.tensor([[0.0, 0.0, angle]]))[0] for angle in (-0.5, 0.5)]
    turned = [rotate_map(Volume(values, 1.0), turn, torch.zeros(3)).values for turn in turns]
    return torch.stack([values, *turned]).mean(0)


@pytest.mark.parametrize("retry_is_good", [True, False])
def test_a_map_that_lags_behind_the_other_halfs_is_searched_again(
    monkeypatch: pytest.MonkeyPatch, *, retry_is_good: bool
) -> None:
    """Though both agree to every shell. Where the next search is no better, both halves begin with the good map."""
    stack = phantom_stack()
    halves = store_of(stack.particles.select(FIRST)), store_of(stack.particles.select(SECOND))
    grids = back_project_halves(stack.particles, stack.truth, torch.arange(800) % 2 + 1, "C1", SilentProgress())
    good = low_pass(sum(solve(grid) for grid in grids) / 2, 11.0)
    noise = torch.ones(17)
    bad = Candidate(warped(good), noise)
    found = iter([bad, Candidate(good, noise), Candidate(good.clone() if retry_is_good else bad.map, noise)])

    def search(finder: StartFinder, *_: object) -> Candidate:
        finder.searches += 1
        return next(found)

    monkeypatch.setattr(StartFinder, "_search", search)
    monkeypatch.setattr(starts, "in_frame_of", lambda estimate, _target, radius: (estimate, radius))
    finder, start = find(halves, replace(QUICK, starts=2))
    assert start is not None
    assert finder.searches == 3
    assert start.independent is retry_is_good
    assert all(torch.equal(half.map, good) for half in start.halves)


def good_and_junk(particles: Particles, truth: Poses) -> tuple[torch.Tensor, torch.Tensor]:
    """The true map, and one of two particles side by side."""
    grids = back_project_halves(particles, truth, torch.arange(len(particles)) % 2 + 1, "C1", SilentProgress())
    good = low_pass(sum(solve(grid) for grid in grids) / 2, 11.0)
    return good, torch.roll(good, 6, 2) + torch.roll(good.flip(0, 1), -6, 2)


@pytest.mark.parametrize("junk_is_left", [True, False])
def test_a_pair_that_explains_little_gives_way_to_one_that_most_images_prefer(
    monkeypatch: pytest.MonkeyPatch, *, junk_is_left: bool
) -> None:
    """The class that explains most is taken of each half; where that is no better, the pair stays."""
    stack = phantom_stack()
    halves = store_of(stack.particles.select(FIRST)), store_of(stack.particles.select(SECOND))
    good, junk = good_and_junk(stack.particles, stack.truth)
    classes = [junk, junk, good if junk_is_left else junk]
    noise = torch.ones(17)

    monkeypatch.setattr(StartFinder, "_search", lambda *_: Candidate(junk, noise))
    monkeypatch.setattr(StartFinder, "_classes", lambda *_: [Candidate(one, noise) for one in classes])
    monkeypatch.setattr(starts, "in_frame_of", lambda estimate, _target, radius: (estimate, radius))
    _, start = find(halves, replace(QUICK, starts=1))
    assert start is not None
    assert all(torch.equal(half.map, good if junk_is_left else junk) for half in start.halves)


def test_a_map_that_explains_enough_is_not_searched_for_beside_junk(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = phantom_stack()
    halves = store_of(stack.particles.select(FIRST)), store_of(stack.particles.select(SECOND))
    good, _ = good_and_junk(stack.particles, stack.truth)
    monkeypatch.setattr(StartFinder, "_search", lambda *_: Candidate(good, torch.ones(17)))
    monkeypatch.setattr(StartFinder, "_classes", lambda *_: pytest.fail("searched"))
    _, start = find(halves, replace(QUICK, starts=1))
    assert start is not None
    assert start.independent


@pytest.mark.slow
def test_one_start_for_both_where_halves_do_not_agree() -> None:
    """The second half holds noise: nothing can agree, and the verdict is not that of independent halves."""
    particles = phantom_stack().particles
    images = torch.cat([particles.images()[:400], noise_only(400, 7).images()])
    mixed = replace(particles_of(images, varied_optics(800)), half_sets=torch.arange(800) // 400 + 1)
    result = Search(replace(SHORT, starts=1, iterations=15, refine_iterations=1)).run(mixed)
    assert result.metrics["independent_halves"] == 0
    assert result.metrics["searches"] == 4
    assert result.verdict != "solved"


def test_a_subset_of_a_store_is_a_view_of_its_cache() -> None:
    store = store_of(phantom_stack().particles)
    rows = torch.tensor([3, 700, 5])
    part = store.subset(rows, 9.0, SilentProgress())
    again = part.subset(torch.tensor([2, 0]), 9.0, SilentProgress())
    assert len(part) == 3
    assert torch.equal(part.batch(torch.arange(3), 40).yc, store.batch(rows, 40).yc)
    assert torch.equal(again.batch(torch.arange(2)).c2, store.batch(torch.tensor([5, 3])).c2)
    unread = CoefficientStore(phantom_stack().particles, 12.0)
    torch.testing.assert_close(
        unread.subset(rows, 9.0, SilentProgress()).batch(torch.arange(3), 40).yc, store.batch(rows, 40).yc
    )


def phantom_map(box: int = BOX) -> torch.Tensor:
    width = 2.2 * 6.4
    return atoms_to_density(Phantom().atoms(), DensityGrid(box, 6.4 * BOX / box, width)).values.float()


def test_drift_between_maps_is_found() -> None:
    density = low_pass(phantom_map(), 11.0)
    turn = rotation_from_vector(torch.tensor([[0.02, -0.03, 0.015]]))[0]
    moved = rotate_map(Volume(density, 1.0), turn, torch.tensor([0.3, -0.2, 0.1])).values
    back, shift = drift_between(moved, density, 10.0)
    assert float(rotation_angle_deg(back[None], turn.T[None])) < 0.2
    assert torch.allclose(shift, -turn.T @ torch.tensor([0.3, -0.2, 0.1]), atol=0.05)


def test_a_round_brings_a_turned_half_back_with_its_poses() -> None:
    """Half 2 sits 3° and half a pixel away from half 1; afterwards the truth explains both."""
    stack = phantom_stack()
    store = store_of(stack.particles)
    halves = torch.arange(800) % 2 + 1
    turn = rotation_from_vector(torch.tensor([[0.03, -0.03, 0.03]]))[0]
    away = torch.tensor([0.5, 0.0, 0.0])
    rotations, shifts = stack.truth.rotations.clone(), (stack.truth.shifts_A / 6.4).clone()
    mine = halves == 2
    rotations[mine] = rotations[mine] @ turn.T
    shifts[mine] -= (rotations[mine] @ away)[:, :2]
    settings = RefinementSettings(DIAMETER_PX, "C1", 1, 10.0, realign=True)
    for realign, largest_deg in ((True, 0.7), (False, 90.0)):
        refinement = Refinement(store, halves, replace(settings, realign=realign))
        density = phantom_map() * float(store.spectra(torch.arange(800)).signal[3].sqrt())
        scale = density / FourierVolume.from_map(density).slices(torch.eye(3)[None]).abs().max()
        first = scale * 12
        second = rotate_map(Volume(first, 1.0), turn, -away).values
        begin = refinement.start((rotations, shifts), torch.ones(16), (first, second))
        after = refinement.round(begin)
        mean = _mean_turn(after.rotations[mine], stack.truth.rotations[mine])
        between = float(
            rotation_angle_deg(mean[None], _mean_turn(after.rotations[~mine], stack.truth.rotations[~mine])[None])
        )
        assert between < largest_deg
        if not realign:
            assert between > 2


def _mean_turn(estimates: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
    """Rotation Q with ``estimate ≈ truth @ Q`` on the median."""
    relative = truths.transpose(1, 2) @ estimates
    u, _, v = torch.linalg.svd(relative.sum(0))
    return u @ v


@pytest.mark.slow
def test_hands_of_the_halves_are_made_one() -> None:
    """Whatever hand a search ends with, both halves' maps agree without a mirror."""
    particles = phantom_stack().particles
    _, start = find((store_of(particles.select(FIRST)), store_of(particles.select(SECOND))), SHORT)
    assert start is not None
    first, second = (half.map for half in start.halves)
    plain = float(fsc(first, second)[1:9].mean())
    assert plain > 0.8
    assert plain > float(fsc(mirror_map(Volume(first, 1.0)).values, second)[1:9].mean()) + 0.05


@pytest.mark.parametrize("starts", [0, 101])
def test_number_of_starts_is_checked(starts: int) -> None:
    from vitreous.errors import ConfigError

    with pytest.raises(ConfigError, match="--starts"):
        SearchConfig(starts=starts)
