"""Sufficient statistics of images, cached or not, and their spectra."""

from dataclasses import replace

import pytest
import torch

from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Optics
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.physics.ctf import ctf_half_plane
from vitreous.reconstruct.coefficients import CoefficientStore


@pytest.mark.parametrize("box", [32, 33])
def test_cached_and_uncached_coefficients_are_equal(box: int) -> None:
    particles = make_scene(40, box, snr=1.0).particles
    cached = CoefficientStore(particles, 10.0).load(SilentProgress())
    streamed = CoefficientStore(particles, 10.0, cache_bytes=0).load(SilentProgress())
    assert cached.fits_in_memory
    assert not streamed.fits_in_memory
    for rows in (torch.arange(40), torch.arange(5, 20), torch.tensor([3, 30, 7, 7])):
        for count in (None, 50):
            first, second = (store.batch(rows, count) for store in (cached, streamed))
            torch.testing.assert_close(first.yc, second.yc, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(first.c2, second.c2, atol=0, rtol=0)


def test_coefficients_are_unitary_transforms_times_the_ctf() -> None:
    particles = make_scene(10, snr=1.0).particles
    store = CoefficientStore(particles, 12.0)
    ctf = store.disc.gather(ctf_half_plane(particles.optics, 32, PIXEL_SIZE_A))
    expected = store.disc.gather(torch.fft.rfft2(torch.fft.ifftshift(particles.images(), (-2, -1)), norm="ortho"))
    found = store.batch(torch.arange(10))
    torch.testing.assert_close(found.yc, expected * ctf, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.c2, ctf * ctf, atol=1e-6, rtol=1e-4)


def test_pure_noise_has_unit_power_and_no_signal() -> None:
    n = 400
    images = torch.randn(n, 32, 32, generator=torch.Generator().manual_seed(0))
    particles = replace(make_scene(n).particles, source=ArraySource(images, PIXEL_SIZE_A))
    found = CoefficientStore(particles, 14.0).spectra(torch.arange(n))
    torch.testing.assert_close(found.total[1:], torch.ones(14), atol=0.12, rtol=0)
    assert float(found.signal[2:].max()) < 0.2


def test_signal_spectrum_is_that_of_the_projections() -> None:
    n = 400
    scene = make_scene(n, snr=2.0)
    store = CoefficientStore(scene.particles, 8.0)
    found = store.spectra(torch.arange(n)).signal
    from vitreous.physics.slices import FourierVolume

    slices = FourierVolume.from_map(scene.truth).sample(scene.poses.rotations, store.disc.kx, store.disc.ky) / 32
    power = torch.zeros(9).index_add_(0, store.disc.shell, slices.abs().square().mean(0))
    expected = power / torch.bincount(store.disc.shell)
    torch.testing.assert_close(found[2:6] / expected[2:6], torch.ones(4), atol=0.25, rtol=0)


def test_premultiplied_images_keep_their_scale() -> None:
    """Images multiplied by their CTF and then normalised to σ = 1 give the coefficients of the plain ones."""
    n = 200
    optics = make_scene(1).particles.optics
    one = Optics(
        **{
            name: getattr(optics, name).expand(n).clone()
            for name in (
                *("voltage_kV", "cs_mm", "amplitude_contrast", "defocus_u_A", "defocus_v_A"),
                *("defocus_angle_deg", "phase_shift_deg", "bfactor_A2", "group"),
            )
        }
    )
    scene = make_scene(n, snr=0.05, optics=one)
    ctf = ctf_half_plane(one, 32, PIXEL_SIZE_A)
    images = irfft2_centred(rfft2_centred(scene.particles.images()) * ctf, 32)
    # The noise's variance after the CTF, over the disc that carries coefficients.
    plain = CoefficientStore(scene.particles, 15.0)
    scale = plain.batch(torch.arange(n)).c2.mean().sqrt()
    given = replace(scene.particles, source=ArraySource(images / scale, PIXEL_SIZE_A), ctf_premultiplied=True)
    found = CoefficientStore(given, 15.0).batch(torch.arange(n))
    torch.testing.assert_close(found.yc, plain.batch(torch.arange(n)).yc, atol=1e-3, rtol=1e-3)
