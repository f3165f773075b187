"""Noise of known level, and views of images."""

import pytest
import torch

from vitreous.fourier.transform import rfft2_centred
from vitreous.methods.cryodrgn.views import ImagePlane, noise_sigma
from vitreous.physics.noise import coloured_noise, white_noise
from vitreous.reconstruct.fourier_images import half_disc, soft_window

BOX = 24


@pytest.fixture
def plane() -> ImagePlane:
    return ImagePlane(half_disc(BOX), soft_window(BOX, 0.85))


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_sigma_of_white_noise_is_its_own_whatever_lies_at_low_frequency(box: int, sigma: float, generator) -> None:
    axis = torch.arange(box) - box // 2
    blob = 30 * torch.exp(-(axis[:, None] ** 2 + axis**2) / 18.0)
    images = sigma * white_noise(200, box, generator) + blob
    assert noise_sigma(images) == pytest.approx(sigma, rel=0.02)
    assert noise_sigma(images, 0.1) > 1.5 * sigma  # the threshold matters


def test_sigma_of_coloured_noise_is_that_of_its_highest_shells(generator) -> None:
    power = torch.ones(BOX // 2 + 1)
    power[:8] = 9.0
    images = coloured_noise(200, BOX, power, generator)
    assert noise_sigma(images, 0.75) == pytest.approx(1.0, rel=0.02)
    assert float(images.std()) > 1.5


def test_coefficients_go_to_images_and_come_back(plane, generator) -> None:
    open_plane = ImagePlane(plane.disc, torch.ones(BOX, BOX))
    values = plane.disc.gather(rfft2_centred(white_noise(5, BOX, generator))) / BOX
    shifts = torch.randn(5, 2, generator=generator)
    torch.testing.assert_close(open_plane.values(open_plane.images(values, shifts), shifts), values, atol=1e-5, rtol=0)


def test_images_have_their_particle_where_it_was(plane) -> None:
    values = torch.ones(1, len(plane.disc.kx), dtype=torch.complex64)  # a point at the centre
    image = plane.images(values, torch.tensor([[3.0, -2.0]]))[0]
    assert divmod(int(image.argmax()), BOX) == (BOX // 2 - 2, BOX // 2 + 3)


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_views_have_the_noise_that_was_asked_for(plane, sigma: float) -> None:
    torch.manual_seed(0)
    values = torch.zeros(400, len(plane.disc.kx), dtype=torch.complex64)
    shifts = torch.zeros(400, 2)
    noisy = plane.with_noise(values, shifts, torch.tensor(sigma))
    power = noisy.abs().square().mean()
    assert float(power) == pytest.approx(sigma**2 * float(plane.window.square().mean()), rel=0.02)
    assert float(plane.sigma_of(power)) == pytest.approx(sigma, rel=0.02)


def test_noise_is_drawn_anew_for_every_image_and_view(plane) -> None:
    values, shifts = torch.zeros(2, len(plane.disc.kx), dtype=torch.complex64), torch.zeros(2, 2)
    torch.manual_seed(0)
    first, second = (plane.with_noise(values, shifts, torch.tensor(1.0)) for _ in range(2))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])


def test_turned_images_are_the_eight_that_a_square_allows(plane) -> None:
    torch.manual_seed(0)
    values = torch.randn(1, len(plane.disc.kx), dtype=torch.complex64).expand(400, -1)
    turned = plane.turned(values)
    assert len(torch.unique(torch.view_as_real(turned).flatten(1).round(decimals=2), dim=0)) == 8
    images, still = (plane.images(found, torch.zeros(400, 2)).flatten(1) for found in (turned, values))
    torch.testing.assert_close(images.sort(1).values, still.sort(1).values, atol=1e-4, rtol=0)  # pixels only move
