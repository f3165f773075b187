"""The point group of a map: blobs of each family in random frames, with noise, and some that only look symmetric."""

import math

import pytest
import torch

from tests.physics.blobs import Blobs, make_blobs
from tests.reconstruct.test_symmetry_axes import BOX, moved, random_move, symmetric_blobs
from vitreous.errors import InputError
from vitreous.fourier.filters import low_pass
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import rotation_angle_deg
from vitreous.geometry.symmetry import point_group
from vitreous.reconstruct.candidate_axes import Axis, Frame, Yardstick, candidate_frames
from vitreous.reconstruct.masks import sphere_mask
from vitreous.reconstruct.symmetry_search import LEAST_SHELL, FoundGroup, _chosen, find_point_group, without_inverses
from vitreous.typing import Map

RADIUS = 9.0


def noisy_halves(blobs: Blobs, seed: int, noise: float = 0.3) -> tuple[Map, Map]:
    """Two independent maps of a particle in a random frame; noise in σ of the map."""
    clean = moved(blobs, *random_move(seed)).map(BOX).float()
    generator = torch.Generator().manual_seed(seed)
    mask = sphere_mask(BOX, 13.0, 3.0)
    sigma = noise * float(clean.std())
    first, second = (mask * (clean + sigma * torch.randn(clean.shape, generator=generator)) for _ in range(2))
    return first, second


def found_in(blobs: Blobs, seed: int) -> FoundGroup:
    first, second = noisy_halves(blobs, seed)
    return find_point_group(first, RADIUS, second)


def lopsided(name: str, weight: float) -> Blobs:
    """A symmetric particle of which the heaviest blob in one unit has another weight."""
    whole = symmetric_blobs(name, seed=3)
    weights = whole.weights.clone()
    weights[3] *= weight
    return Blobs(whole.centres, weights, whole.sigma)


@pytest.mark.parametrize("name", ["C3", "C7", "D2", "D5", "T", "O", "I"])
def test_group_and_frame_are_found_in_noise(name: str) -> None:
    """The turned particle's own operations are ``R g Rᵀ``."""
    found = found_in(symmetric_blobs(name, seed=1), seed=2)
    assert found.name == name
    group, Q, R = point_group(name), found.frame.rotation.double(), random_move(2)[0]
    turned, true = Q.T @ group @ Q, R @ group @ R.T
    errors = torch.stack([rotation_angle_deg(one.expand_as(true), true).min() for one in turned])
    assert float(errors.max()) < 3
    assert found.share > 0.93
    assert found.frame.score > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_asymmetric_particles_have_none(seed: int) -> None:
    found = found_in(make_blobs(BOX, n=12, sigma=1.3, seed=seed), seed)
    assert found.name == "C1"
    assert torch.equal(found.frame.rotation, torch.eye(3))
    assert found.rejected_share < 0.9


def test_pseudo_symmetry_is_not_taken_for_symmetry() -> None:
    """One blob of twelve is missing; the group is named as rejected."""
    assert found_in(lopsided("C3", 1.0), seed=5).name == "C3"
    found = found_in(lopsided("C3", 0.0), seed=5)
    assert found.name == "C1"
    assert (found.rejected, found.rejected_share > 0.5) == ("C3", True)


def test_a_part_of_the_symmetry_remains() -> None:
    """D3 without its two-folds is C3: weights differ above and below."""
    whole = symmetric_blobs("D3", seed=1)
    weights = whole.weights * torch.where(whole.centres[:, 2] > 0, 1.0, 0.4).double()
    assert found_in(Blobs(whole.centres, weights, whole.sigma), seed=3).name == "C3"


def test_noise_is_forgiven_as_far_as_it_is_known() -> None:
    """Mates in noise do not agree to 1; only who has a second map takes the first for symmetric."""
    first, second = noisy_halves(symmetric_blobs("D2", seed=1), seed=4, noise=1.0)
    assert find_point_group(first, RADIUS, second).name == "D2"
    assert find_point_group(first, RADIUS).name == "C1"


def test_maps_that_agree_in_a_few_shells_have_no_symmetry() -> None:
    values = symmetric_blobs("C3").map(BOX).float()
    second = low_pass(values, 4.0) + 0.1 * float(values.std()) * torch.randn(values.shape)
    found = find_point_group(values, RADIUS, second)
    assert found.name == "C1"
    assert 3 <= found.shell < LEAST_SHELL


def test_frames_are_built_only_of_axes_at_the_right_angle() -> None:
    z, x = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    tilted = torch.tensor([math.sin(math.radians(70)), 0.0, math.cos(math.radians(70))])
    three, two, off = (Axis(n, d, torch.zeros(3), 1.0) for n, d in ((3, z), (2, x), (2, tilted)))
    group = point_group("D3").float()
    (frame,) = candidate_frames(group, [three, two])
    Q = frame.rotation
    mates = Q.T @ group @ Q
    for axis in (three, two):
        assert float(rotation_angle_deg(mates, axis.turn.expand_as(mates)).min()) < 0.1
    assert candidate_frames(group, [three, off]) == []
    assert candidate_frames(group, [two]) == []


@pytest.mark.parametrize(("name", "half"), [("C2", 1), ("C5", 2), ("D2", 3), ("T", 7), ("I", 37)])
def test_without_inverses_has_one_of_each_pair(name: str, half: int) -> None:
    """Two-folds are their own inverses: T has three and four pairs, I fifteen and twenty-two."""
    assert len(without_inverses(point_group(name))) == half


def test_share_is_what_the_worst_turn_reaches_of_the_maps_own_agreement() -> None:
    """Maps that differ by noise: their FSC is the measure, 1 for turns of the symmetry and far less for another."""
    first, second = noisy_halves(symmetric_blobs("C4", seed=2), seed=1, noise=0.8)
    R, shift = random_move(seed=1)
    yardstick = Yardstick(first, second, 8)
    assert torch.allclose(yardstick.expected[1:], fsc(first, second)[1:9].float(), atol=0.03)
    frame = Frame(R.T.float(), shift.float() / BOX, 0.0)
    quarter, third = point_group("C4")[1:2].float(), point_group("C3")[1:2].float()
    assert yardstick.share(quarter, frame, 8) == pytest.approx(1.0, abs=0.1)
    assert yardstick.share(torch.cat([quarter, third]), frame, 8) < 0.7


def test_the_largest_of_the_groups_that_hold_best_is_chosen() -> None:
    """A ring of seven holds for nine as well in a few shells, but less."""
    assert _chosen({"D9": 0.94, "D7": 0.99}) == "D7"
    assert _chosen({"O": 0.98, "C5": 0.99}) == "O"
    assert _chosen({"D2": 0.85, "C2": 0.97}) == "C2"
    assert _chosen({"D2": 0.85}) == "C1"
    assert _chosen({}) == "C1"


def test_empty_maps_are_refused() -> None:
    with pytest.raises(InputError, match="constant"):
        find_point_group(torch.zeros(BOX, BOX, BOX))
