"""Starts that are given: cut off, scaled to the images, held against random ones, and left where they mislead."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.methods.moving_blobs import moving_blobs
from tests.methods.test_classify import species
from tests.methods.test_search import BOX, PIXEL_SIZE_A, QUICK, SHORT, N, errors_of, phantom_stack
from tests.methods.test_starts import DIAMETER_PX, FIRST, SECOND, phantom_map, store_of
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Particles, Poses, ResolutionCurves, Result, SilentJournal, Volume
from vitreous.errors import ConfigError
from vitreous.fourier.filters import low_pass
from vitreous.fourier.resize import resize_map
from vitreous.fourier.shells import radial_power
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.given import LEAST_RADIUS, START_A, at_image_scale, cut_off_radius, given_starts
from vitreous.methods.search.method import START_LEFT, Search
from vitreous.methods.search.starts import Candidate, GivenStarts, Start, StartFinder, enough_shell, is_better
from vitreous.methods.search.verdict import Evidence, independence, judge
from vitreous.reconstruct.backprojection import working_box
from vitreous.reconstruct.known_poses import split_half_sets
from vitreous.typing import Map

RADIUS = BOX * PIXEL_SIZE_A / 30


def truth() -> Volume:
    return Volume(phantom_map(), PIXEL_SIZE_A)


def another() -> Volume:
    """A map of another particle."""
    return Volume(species(3).map(BOX).float(), PIXEL_SIZE_A)


def test_a_start_has_the_power_of_the_particle_whatever_its_grey_scale() -> None:
    store = store_of(phantom_stack().particles)
    scaled, again = (at_image_scale(factor * phantom_map(), store, RADIUS, 0) for factor in (1.0, 37.0))
    torch.testing.assert_close(scaled, again, rtol=1e-3, atol=1e-4 * float(scaled.abs().max()))
    signal = store.spectra(torch.arange(N)).signal
    torch.testing.assert_close(radial_power(scaled).float()[2:6], signal[2:6], rtol=0.35, atol=0)
    assert float(radial_power(scaled)[int(RADIUS) + 2 :].max()) < 1e-6 * float(radial_power(scaled)[3])


@pytest.mark.parametrize("start_A", [9.0, 60.0])
def test_a_start_that_leaves_nothing_or_goes_beyond_the_images_is_refused(start_A: float) -> None:
    with pytest.raises(ConfigError, match="--start"):
        cut_off_radius(phantom_stack().particles, start_A)
    with pytest.raises(ConfigError, match="--start"):
        Search(replace(QUICK, start_A=start_A)).run(phantom_stack().particles, starts=truth())
    with pytest.raises(ConfigError, match="--start"):
        replace(QUICK, start_A=-start_A)


def test_the_default_cut_off_fits_small_fields_and_coarse_pixels() -> None:
    particles = phantom_stack().particles
    assert cut_off_radius(particles, None) == pytest.approx(particles.box * particles.pixel_size_A / START_A)
    small = moving_blobs(4).particles  # 16 px of 4 Å: two Fourier pixels within 30 Å
    assert cut_off_radius(small, None) == LEAST_RADIUS
    with pytest.raises(ConfigError, match="--start"):
        cut_off_radius(small, START_A)
    coarse = Particles(ArraySource(small.images(), 20.0), small.optics, small.ids)
    assert cut_off_radius(coarse, None) == coarse.box / 2 - 1


def test_poses_make_a_map_of_each_half_that_is_trusted_as_far_as_these_agree() -> None:
    stack = phantom_stack()
    half_sets = split_half_sets(stack.particles, 0)
    store = store_of(stack.particles)
    random = Poses(random_rotations(N, torch.Generator().manual_seed(1)), torch.zeros(N, 2))
    right, wrong = (given_starts(poses, store, half_sets, RADIUS, SilentProgress()) for poses in (stack.truth, random))
    assert right.agreement_shell == pytest.approx(RADIUS)
    assert wrong.agreement_shell < 5
    assert right.shared_radius == wrong.shared_radius == RADIUS
    first, second = (volume.values for volume in right.maps)
    assert not torch.equal(first, second)
    expected = low_pass(phantom_map(), RADIUS)
    assert float(torch.corrcoef(torch.stack([first.flatten(), expected.flatten()]))[0, 1]) > 0.85
    given = given_starts(truth(), store, half_sets, RADIUS, SilentProgress())
    assert torch.equal(given.maps[0].values, given.maps[1].values)
    assert given.agreement_shell == RADIUS


def found_from(given: Volume, control: Volume, monkeypatch: pytest.MonkeyPatch) -> tuple[Start | None, int]:
    """What two searches lead to that end with one map, and a third from random orientations with another."""
    stores = tuple(store_of(phantom_stack().particles.select(rows)) for rows in (FIRST, SECOND))
    box = working_box(QUICK.search_radius)

    def candidate(volume: Volume) -> Candidate:
        scaled: Map = at_image_scale(volume.values, stores[0], QUICK.search_radius, 0)
        return Candidate(resize_map(scaled, box), torch.ones(12))

    def search(self: StartFinder, store: object, given_maps: GivenStarts | None = None, half: int = 0) -> Candidate:
        self.searches += 1
        return candidate(control if given_maps is None else given)

    monkeypatch.setattr(StartFinder, "_search", search)
    finder = StartFinder(QUICK, DIAMETER_PX, (SilentProgress(), SilentJournal()))
    start = finder.from_given((stores[0], stores[1]), GivenStarts((given, given), RADIUS, RADIUS))
    return start, finder.searches


def test_a_start_that_random_orientations_outdo_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both halves agree on the wrong map that they were given: only the control shows it."""
    start, _ = found_from(another(), truth(), monkeypatch)
    assert start is None


def test_a_start_that_a_control_comes_to_as_well_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    start, searches = found_from(truth(), truth(), monkeypatch)
    assert start is not None
    assert searches == 3
    assert start.agreement_shell == QUICK.search_radius
    assert (start.independent, start.shared_radius) == (True, RADIUS)


def test_a_start_that_explains_more_than_its_controls_is_kept_with_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    start, searches = found_from(truth(), another(), monkeypatch)
    assert start is not None
    assert searches == 2 + QUICK.starts
    assert start.agreement_shell < 0.95 * QUICK.search_radius
    verdict, reasons = judge(half_maps_to(14.0), evidence_of(start), QUICK.search_radius)
    assert verdict == "ambiguous"
    assert "random orientations" in reasons[0]


def test_what_comes_to_the_same_map_must_be_surely_better_to_be_another(generator: torch.Generator) -> None:
    noise = torch.randn(300, generator=generator)
    noise = (noise - noise.mean()) / noise.std()  # a standard error of 0.058
    assert is_better(noise + 0.1, surely=False)
    assert not is_better(noise + 0.1, surely=True)
    assert is_better(noise + 0.2, surely=True)
    assert not is_better(noise - 0.1, surely=False)


def half_maps_to(shell: float) -> Result:
    """Half-maps that agree up to a shell."""
    shells = torch.arange(BOX // 2 + 1)
    curve = torch.where(shells < shell, 1.0, 0.0).double()
    return Result(curves=ResolutionCurves(shells.double() / (BOX * PIXEL_SIZE_A), curve))


def evidence_of(start: Start) -> Evidence:
    return Evidence(
        start.agreement_shell,
        torch.ones(5),
        torch.ones(5),
        independent=start.independent,
        shared_radius=start.shared_radius,
    )


@pytest.mark.parametrize(("shared", "shell", "verdict"), [(7.0, 14.0, "solved"), (13.0, 12.5, "ambiguous")])
def test_half_maps_must_go_beyond_what_they_share(shared: float, shell: float, verdict: str) -> None:
    evidence = Evidence(11.0, torch.ones(5), torch.ones(5), independent=True, shared_radius=shared)
    found, reasons = judge(half_maps_to(shell), evidence, 11.0)
    assert found == verdict
    assert all("begin with a start that reaches 15.8 Å" in reason for reason in reasons)
    alone = replace(evidence, shared_radius=0.0)
    assert judge(half_maps_to(shell), alone, 11.0)[0] == "solved"


def test_what_is_shared_is_said_in_angstrom() -> None:
    particles = phantom_stack().particles
    assert independence(RADIUS, particles)["independent_beyond_A"] == pytest.approx(30)
    assert independence(0.0, particles) == {}


def test_halves_must_agree_on_more_than_they_share() -> None:
    assert enough_shell(10.0) == pytest.approx(6.0)
    assert enough_shell(10.0, 5.0) == pytest.approx(8.0)
    assert enough_shell(10.0, 12.0) == pytest.approx(10.0)


@pytest.mark.slow
@pytest.mark.parametrize(("start", "is_left"), [(truth, False), (another, True)])
def test_a_right_start_is_kept_and_a_wrong_one_is_left(start: Callable[[], Volume], is_left: bool) -> None:
    result = Search(SHORT).run(phantom_stack().particles, starts=start())
    assert (START_LEFT in result.warnings) == is_left
    assert result.metrics["independent_halves"] == is_left
    assert ("independent_beyond_A" in result.metrics) != is_left
    assert result.verdict == "solved"
    assert errors_of(result).median_deg < 4
