"""The linear baseline against closed forms, and on a motion."""

import math
from dataclasses import replace

import pytest
import torch

from tests.methods.moving_blobs import blob_map, moving_blobs
from tests.reconstruct.scenes import make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource
from vitreous.errors import ConfigError, InputError
from vitreous.evaluate.latents import conformation_error
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.pca.method import Pca, whitened
from vitreous.methods.pca.model import LinearMaps, linear_views
from vitreous.physics.ctf import ctf_half_plane

BOX = 12


@pytest.fixture
def maps(generator) -> LinearMaps:
    return LinearMaps(torch.randn(3, BOX, BOX, BOX, generator=generator) / BOX**1.5, 4.0)


def test_the_posterior_is_gaussian_conditioning(maps) -> None:
    particles = moving_blobs(5, BOX).particles
    _, views = next(iter(linear_views(particles, SilentProgress(), "Reading")))
    slices = maps.slices(views)
    mean, covariance = maps.posterior(views, slices)
    A = torch.view_as_real(slices[2]).flatten(-2).double()
    y = torch.view_as_real(views.values[2]).flatten(-2).double()
    total = A[1:].T @ A[1:] + 0.5 * torch.eye(A.shape[1], dtype=torch.float64)  # noise of power ½ per real number
    gain = A[1:] @ torch.linalg.inv(total)
    torch.testing.assert_close(mean[2].double(), gain @ (y - A[0]), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        covariance[2].double(), torch.eye(2, dtype=torch.float64) - gain @ A[1:].T, atol=1e-4, rtol=1e-3
    )


def test_whitening_keeps_the_maps_of_all_particles(maps, generator) -> None:
    z = torch.randn(1000, 2, generator=generator) @ torch.tensor([[2.0, 0.5], [0.0, 0.3]]) + 1.5
    one_and_z = torch.cat([torch.ones(1000, 1), z], 1)
    second = (one_and_z.T @ one_and_z / 1000).double()
    white = whitened(maps, second)
    before = torch.tensordot(one_and_z, maps.maps, 1).flatten(1)
    flat = white.maps.flatten(1)
    solution = torch.linalg.lstsq(flat[1:].T, (before - flat[0]).T).solution
    torch.testing.assert_close(solution.T @ flat[1:] + flat[0], before, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(solution.mean(1), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(solution @ solution.T / 1000, torch.eye(2), atol=1e-3, rtol=0)
    assert abs(float(flat[1] @ flat[2])) < 1e-4 * float(flat[1].norm() * flat[2].norm())
    assert float(flat[1].norm()) > float(flat[2].norm())


def test_a_motion_along_a_line_is_found() -> None:
    scene = moving_blobs(700, 16, noise=1.0, arc=math.pi)
    result, model = Pca(2, PcaConfig(iterations=8)).run(scene.particles, SilentProgress())
    found = conformation_error(result.latents, scene.angles, torch.Generator().manual_seed(0)).summary()
    assert found["circular_correlation"] > 0.85
    rows = list(range(0, 700, 50))
    pairs = [(model.volume(result.latents[i]), blob_map(float(scene.angles[i]), 16)) for i in rows]
    mean = model.volume(torch.zeros(2)).values
    # the images are three times the projections of the map
    moving = torch.stack([(found.values - 3 * truth.values).square().sum() for found, truth in pairs]).mean()
    still = torch.stack([(mean - 3 * truth.values).square().sum() for _, truth in pairs]).mean()
    assert float(moving) < 0.7 * float(still)


def test_many_maps_of_images_without_noise_do_not_grow() -> None:
    """Each map by itself, the others held, would grow from round to round."""
    quiet = moving_blobs(60, 16, noise=1e-2).particles
    particles = replace(quiet, source=ArraySource(100 * quiet.images(), quiet.pixel_size_A))
    first, last = (
        float(Pca(12, PcaConfig(iterations=rounds)).run(particles, SilentProgress())[1].maps[0].abs().max())
        for rounds in (4, 16)
    )
    assert last < 1.2 * first


def test_images_multiplied_by_their_ctf_are_seen_as_those_that_were_not() -> None:
    plain = make_scene(20, 32, snr=1.0).particles
    ctf = ctf_half_plane(plain.optics, 32, plain.pixel_size_A)
    images = irfft2_centred(rfft2_centred(plain.images()) * ctf, 32)
    _, expected = next(linear_views(plain, SilentProgress(), "Reading"))
    images /= expected.ctf.square().mean(1).sqrt()[:, None, None]  # as reading scales them
    multiplied = replace(plain, source=ArraySource(images, plain.pixel_size_A), ctf_premultiplied=True)
    _, found = next(linear_views(multiplied, SilentProgress(), "Reading"))
    told = expected.ctf.abs() > 0.05
    assert float(told.float().mean()) > 0.9
    torch.testing.assert_close(found.values[told], expected.values[told], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.ctf[told], expected.ctf[told])
    assert not bool(found.values[~told].any() or found.ctf[~told].any())


def test_a_model_read_back_embeds_alike() -> None:
    scene = moving_blobs(100, BOX)
    result, model = Pca(1, PcaConfig(iterations=1)).run(scene.particles, SilentProgress())
    again = LinearMaps.from_state(model.state).embed(scene.particles, SilentProgress())
    torch.testing.assert_close(again.mean, result.latents)
    torch.testing.assert_close(again.std, result.latent_std)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="iterations must be"):
        PcaConfig(iterations=0)
    with pytest.raises(InputError, match="have no poses"):
        Pca(1).run(moving_blobs(4).particles.with_poses(None), SilentProgress())
