"""Images as methods that learn from them see them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.methods.moving_blobs import PIXEL_SIZE_A, moving_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Poses
from vitreous.errors import InputError
from vitreous.fourier.transform import rfft2_centred
from vitreous.reconstruct.fourier_images import FourierImages, half_disc, mean_squared_residual, soft_window


def test_particles_without_poses_are_refused() -> None:
    with pytest.raises(InputError, match="have no poses"):
        FourierImages(moving_blobs(4).particles.with_poses(None), 0.85)


def test_shifted_images_are_centred() -> None:
    scene = moving_blobs(3, noise=0.0)
    still = replace(scene.particles, poses=Poses(scene.particles.poses.rotations, torch.zeros(3, 2)))
    moved = ArraySource(torch.roll(scene.particles.images(), (1, -2), (1, 2)), PIXEL_SIZE_A)
    shift_A = PIXEL_SIZE_A * torch.tensor([[-2.0, 1.0]]).expand(3, 2)
    shifted = replace(still, source=moved, poses=Poses(still.poses.rotations, shift_A))
    rows = torch.arange(3)
    found = FourierImages(shifted, 1.0, 1.0).views(rows).values
    torch.testing.assert_close(found, FourierImages(still, 1.0, 1.0).views(rows).values, atol=1e-4, rtol=0)


def test_the_cache_changes_nothing() -> None:
    images = FourierImages(moving_blobs(20).particles, 0.85)
    rows = torch.tensor([3, 17, 3])
    read = images.views(rows)
    kept = images.load(SilentProgress()).views(rows)
    torch.testing.assert_close(read.values, kept.values)
    torch.testing.assert_close(read.ctf, kept.ctf)
    torch.testing.assert_close(read.rotations, kept.rotations)


def test_values_are_divided_by_the_standard_deviation_of_the_pixels() -> None:
    particles = moving_blobs(30).particles
    assert FourierImages(particles, 0.85).scale == pytest.approx(float(particles.images().std()), rel=1e-5)


def test_the_residual_is_the_mean_square_of_hartley_pixels_in_the_circle(generator) -> None:
    box = 12
    images = torch.randn(5, box, box, generator=generator)
    disc = half_disc(box)
    predicted = torch.zeros(5, len(disc.kx), dtype=torch.complex64)
    full = np.fft.fft2(np.fft.ifftshift(images.numpy(), axes=(1, 2))) / box
    hartley = full.real - full.imag
    k = np.fft.fftfreq(box, 1 / box)
    inside = np.hypot(k[:, None], k[None, :]) < box / 2
    inside[0, 0] = False  # it has no mate
    observed = disc.gather(rfft2_centred(images)) / box
    found = mean_squared_residual(predicted[:, 1:], observed[:, 1:])
    assert float(found) == pytest.approx(float((hartley[:, inside] ** 2).mean()), rel=1e-5)


def test_the_window_falls_from_one_to_zero() -> None:
    window = soft_window(64, 0.85)
    row = window[32]
    assert bool((row[6:59] == 1).all())
    assert float(row[0]) == 0.0
    assert 0 < float(row[32 + 29]) < 1
    assert float(soft_window(64, 1.0).min()) == 1.0
    assert math.isclose(float(window.mean()), math.pi / 4 * 0.92**2, rel_tol=0.02)
