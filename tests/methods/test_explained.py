"""A map explains what images show only where it and the poses are right."""

import math
from dataclasses import replace

import pytest
import torch

from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.data import ArraySource
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.explained import explained_share
from vitreous.methods.search.refinement import Refinement, RefinementSettings, RefinementState
from vitreous.physics.noise import coloured_noise
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_spectra import background_noise

BOX, N = 32, 300


def refined(*, coloured: bool = False, random_poses: bool = False) -> tuple[CoefficientStore, RefinementState]:
    """One round from the true map, at the true poses or at others."""
    scene = make_scene(N, BOX, snr=0.5)
    particles, R = scene.particles, scene.poses.rotations
    if coloured:
        power = 3.0 / (1 + torch.arange(BOX // 2 + 9) / 4.0)
        images = particles.images() + coloured_noise(N, BOX, power, torch.Generator().manual_seed(5))
        particles = replace(particles, source=ArraySource(images, PIXEL_SIZE_A))
    store = CoefficientStore(particles, 14.0)
    refinement = Refinement(store, torch.arange(N) % 2 + 1, RefinementSettings(20.0, "C1", 1, 10.0))
    poses = random_rotations(N, torch.Generator().manual_seed(0)).float() if random_poses else R
    noise = torch.ones(int(store.disc.shell[-1]) + 1)
    state = refinement.start((poses, scene.poses.shifts_A / PIXEL_SIZE_A), noise, (scene.truth / BOX,) * 2)
    return store, refinement.round(state)


@pytest.mark.parametrize("coloured", [False, True])
def test_right_maps_explain_nearly_all_and_wrong_ones_little(*, coloured: bool) -> None:
    halves = torch.arange(N) % 2 + 1
    right, wrong = (
        explained_share(*refined(coloured=coloured, random_poses=other), halves, 9.0) for other in (False, True)
    )
    assert 0.75 < right < 1.15
    assert wrong < 0.4


def test_nothing_is_said_of_noise() -> None:
    store, state = refined()
    noise = torch.randn(N, BOX, BOX, generator=torch.Generator().manual_seed(1))
    empty = CoefficientStore(replace(store.particles, source=ArraySource(noise, PIXEL_SIZE_A)), 14.0)
    assert math.isnan(explained_share(empty, state, torch.arange(N) % 2 + 1, 9.0))


def test_corners_that_were_cut_off_say_nothing_of_the_noise() -> None:
    store, _ = refined()
    axis = torch.arange(BOX) - BOX // 2
    kept = store.particles.images() * (torch.hypot(axis[:, None].float(), axis[None, :].float()) < BOX / 2 - 2)
    cut = CoefficientStore(replace(store.particles, source=ArraySource(kept, PIXEL_SIZE_A)), 14.0)
    assert torch.equal(background_noise(cut), torch.ones(len(background_noise(cut))))
    assert float(background_noise(store).mean()) == pytest.approx(1, abs=0.1)
