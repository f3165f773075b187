"""Spectra and strength of noise."""

import pytest
import torch

from vitreous.fourier.frequencies import disc
from vitreous.fourier.transform import rfft2_centred
from vitreous.physics.image_model import add_noise
from vitreous.physics.noise import coloured_noise, white_noise


def spectrum(images: torch.Tensor) -> torch.Tensor:
    """Mean power per coefficient of a unitary transform, by shell, with its number of coefficients."""
    box = images.shape[-1]
    inside = disc(box, box / 2)
    power = (inside.gather(rfft2_centred(images)) / box).abs().square().mean(0).double()
    count = torch.bincount(inside.shell).double()
    return torch.zeros(len(count), dtype=torch.float64).index_add_(0, inside.shell, power) / count


@pytest.mark.parametrize("box", [32, 33])
def test_white_noise_has_unit_variance_in_every_pixel_and_shell(box: int, generator: torch.Generator) -> None:
    images = white_noise(400, box, generator)
    assert float(images.var()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(spectrum(images)[1:], torch.ones(box // 2, dtype=torch.float64), atol=0.12, rtol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_coloured_noise_has_the_spectrum_asked_for(box: int, generator: torch.Generator) -> None:
    wanted = 1 + 4 / (1 + (torch.arange(box // 2 + 1) / 4) ** 2)
    found = spectrum(coloured_noise(400, box, wanted, generator))
    torch.testing.assert_close(
        found[1:] / wanted[1 : len(found)], torch.ones(len(found) - 1).double(), atol=0.12, rtol=0
    )


def test_flat_spectrum_is_white_noise() -> None:
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    torch.testing.assert_close(
        coloured_noise(3, 17, torch.ones(9), first), white_noise(3, 17, second), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("snr", [0.1, 2.0])
def test_snr_is_signal_variance_over_noise_variance(snr: float, generator: torch.Generator) -> None:
    signal = torch.randn(50, 32, 32, generator=generator)
    noisy = add_noise(signal, float((signal.var() / snr).sqrt()), generator)
    assert float(signal.var() / (noisy - signal).var()) == pytest.approx(snr, rel=0.03)


def test_same_generator_state_gives_the_same_noise() -> None:
    first, second, other = (torch.Generator().manual_seed(seed) for seed in (1, 1, 2))
    images = white_noise(2, 16, first)
    assert torch.equal(images, white_noise(2, 16, second))
    assert not torch.equal(images, white_noise(2, 16, other))
