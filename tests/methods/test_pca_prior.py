"""Support and prior of principal maps: noise that is known, and a map that more rounds must not take away."""

from dataclasses import replace

import pytest
import torch

from tests.methods.moving_blobs import blob_map, moving_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource
from vitreous.fourier.shells import fsc
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.pca.method import Pca
from vitreous.methods.pca.model import full_disc, linear_views
from vitreous.methods.pca.prior import Support, solve_with_prior
from vitreous.physics.linear_sums import LinearSums
from vitreous.reconstruct.masks import radii

BOX = 16


def sums_of(particles) -> LinearSums:
    """Normal equations of one map for all."""
    disc, sums = full_disc(BOX), LinearSums(BOX, 1)
    for rows, views in linear_views(particles, SilentProgress(), "Reading"):
        ones = (torch.ones(len(rows), 1), torch.ones(len(rows), 1, 1))
        sums.add(views.rotations, (disc.kx, disc.ky), (views.values * views.ctf, views.ctf.square()), ones)
    return sums


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_variance_that_noise_leaves_is_foretold(seed: int) -> None:
    """The same poses with noise of σ 1 and without: the difference of the two maps is noise alone."""
    loud, quiet = (sums_of(moving_blobs(400, BOX, noise=noise, seed=seed).particles) for noise in (1.0, 0.0))
    old = 3 * blob_map(0.0, BOX).values
    for before in (torch.zeros_like(old), old):
        support = Support.ball(BOX)
        solved, clean = (solve_with_prior(sums, before[None], support) for sums in (loud, quiet))
        inside = radii(BOX) < BOX / 2
        measured = float((solved.values - clean.values)[0, inside].square().mean())
        assert solved.noise == pytest.approx(measured, rel=0.35)


def test_a_support_holds_what_stands_out_of_the_noise_and_not_what_does_not(generator) -> None:
    r = radii(32)
    mean = torch.randn(32, 32, 32, generator=generator) + 5.0 * ((r > 3) & (r < 8))
    weights = Support.ball(32).within(mean, 1.0).weights
    assert float(weights[(r > 3.6) & (r < 7.4)].min()) > 0.9
    assert float(weights[r < 3].min()) > 0.9  # hollow, yet a part of it may move there
    assert float(weights[(r > 9) & (r < 15)].mean()) < 0.1
    flat = weights[16, 16, 16:]
    assert bool((flat[1:] <= flat[:-1]).all())


def test_a_support_of_a_share_of_the_box_sees_each_of_its_numbers_better() -> None:
    sums = sums_of(moving_blobs(100, BOX).particles)
    old = 3 * blob_map(0.0, BOX).values
    ball = Support.ball(BOX)
    half = Support(ball.weights * 0.5**0.5)
    assert half.share == pytest.approx(ball.share / 2)
    tight, wide = (float(solve_with_prior(sums, old[None], s).values.square().sum()) for s in (half, ball))
    assert tight > wide  # less is shrunk away


def test_more_rounds_do_not_take_the_map_away() -> None:
    scene = moving_blobs(300, BOX, noise=3.0)
    truth = torch.stack([blob_map(float(angle), BOX).values for angle in scene.angles]).mean(0)
    areas = []
    for rounds in (2, 20):
        maps = Pca(2, PcaConfig(iterations=rounds)).run(scene.particles, SilentProgress())[1]
        areas.append(float(fsc(maps.maps[0], truth)[1:].mean()))
    assert areas[1] > areas[0] - 0.02


def test_particles_without_a_particle_have_latents_that_say_nothing() -> None:
    noise = moving_blobs(200, BOX).particles
    images = torch.randn(200, BOX, BOX, generator=torch.Generator().manual_seed(7))
    empty = replace(noise, source=ArraySource(images, noise.pixel_size_A))
    result, maps = Pca(2, PcaConfig(iterations=6)).run(empty, SilentProgress())
    assert bool(torch.isfinite(maps.maps).all())
    assert result.latent_std is not None
    assert float(result.latent_std.mean()) > 0.8  # the prior's is 1
    assert ["say nothing" in each for each in result.warnings] == [True]
    assert not Pca(2, PcaConfig(iterations=6)).run(noise, SilentProgress())[0].warnings
