"""Particles that are none are told from true ones, and none are found where there are none."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from tests.methods.test_refine import CONFIG, truth_map
from tests.methods.test_search import BOX, PIXEL_SIZE_A, N, phantom_stack
from tests.reconstruct.scenes import make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Result
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.junk import fitted_mixture, gain_deviates, junk_warnings, without_strong
from vitreous.methods.search.refine import Refine
from vitreous.methods.search.refinement import Refinement, RefinementSettings
from vitreous.reconstruct.coefficients import CoefficientStore


def test_true_particles_have_a_normal_deviate_and_noise_a_low_one(generator: torch.Generator) -> None:
    n = 600
    scene = make_scene(n, BOX, snr=0.3)
    store = CoefficientStore(scene.particles, 12.0).load(SilentProgress())
    half_sets = torch.arange(n) % 2 + 1
    refinement = Refinement(store, half_sets, RefinementSettings(24.0, "C1", 1, 12.0))
    shifts_px = scene.poses.shifts_A / scene.particles.pixel_size_A
    maps = (scene.truth / BOX, scene.truth / BOX)
    state = refinement.start((scene.poses.rotations.float(), shifts_px.float()), torch.ones(13), maps)
    state = replace(state, last_radius=11.0)
    found, expected = gain_deviates(store, state, half_sets)
    assert bool((expected > 0).all())
    assert float(found.mean()) == pytest.approx(0, abs=0.15)
    assert float(found.std()) == pytest.approx(1, abs=0.1)
    elsewhere = replace(state, rotations=random_rotations(n, generator))
    assert float(gain_deviates(store, elsewhere, half_sets)[0].median()) < -3


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
def test_the_share_of_junk_is_found(share: float, generator: torch.Generator) -> None:
    is_junk = torch.rand(6000, generator=generator) < share
    deviates = torch.randn(6000, generator=generator) * (1 + 0.3 * is_junk) + torch.where(is_junk, -4.0, 0.5)
    fit = fitted_mixture(deviates)
    assert fit.share == pytest.approx(float(is_junk.float().mean()), abs=0.02)
    probability = fit.probability(deviates)
    assert float(((probability > 0.5) == is_junk).float().mean()) > 0.97
    order = deviates.argsort()
    assert bool((probability[order].diff() <= 1e-6).all())


@pytest.mark.parametrize("sigma", [0.9, 1.0, 1.3])
def test_one_component_is_no_junk(sigma: float, generator: torch.Generator) -> None:
    fit = fitted_mixture(0.4 + sigma * torch.randn(5000, generator=generator))
    assert fit.share == 0
    assert float(fit.probability(torch.linspace(-9, 9, 50)).max()) == 0


@lru_cache(maxsize=1)
def with_junk() -> tuple[Result, torch.Tensor]:
    """The phantom, refined from its map, with a fifth of the images replaced by noise."""
    particles, generator = phantom_stack().particles, torch.Generator().manual_seed(7)
    is_junk = torch.rand(N, generator=generator) < 0.2
    noise = torch.randn(N, BOX, BOX, generator=generator)
    images = torch.where(is_junk[:, None, None], noise, particles.images())
    source = ArraySource(images, PIXEL_SIZE_A)
    return Refine(CONFIG).run(replace(particles, source=source), start=truth_map()), is_junk


def test_noise_among_particles_is_found() -> None:
    result, is_junk = with_junk()
    probability = result.scores["junk_probability"]
    assert float(((probability > 0.5) == is_junk).float().mean()) > 0.95
    assert result.metrics["junk_share"] == pytest.approx(float(is_junk.float().mean()), abs=0.04)
    assert any("vitreousJunkProbability < 0.5" in warning for warning in result.warnings)


def test_a_clean_stack_has_no_junk() -> None:
    result = Refine(CONFIG).run(phantom_stack().particles, start=truth_map())
    assert result.metrics["junk_share"] < 0.02
    assert not any("vitreousJunkProbability" in warning for warning in result.warnings)


def test_little_junk_is_not_worth_a_warning() -> None:
    assert junk_warnings(0.04) == ()
    assert len(junk_warnings(0.2)) == 1


def test_strong_images_that_differ_in_contrast_are_no_junk() -> None:
    """Most lie many standard deviations of the noise below the strongest, and gain nine tenths of a projection."""
    generator = torch.Generator().manual_seed(0)
    expected = torch.full((400,), 2000.0)
    contrast = torch.where(torch.rand(400, generator=generator) < 0.9, 0.95, 1.05)
    deviates = (2 * contrast - 2) * expected / (2 * expected).sqrt() + torch.randn(400, generator=generator)
    mixture = fitted_mixture(deviates)
    assert mixture.share > 0.8
    assert not without_strong(mixture, expected).probability(deviates).any()
    assert without_strong(mixture, expected / 100).share == mixture.share
