"""Laws of the Fourier transform and of the Fourier shell correlation."""

import math

import pytest
import torch

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.shells import fsc, shell_sums
from vitreous.fourier.transform import irfft2_centred, rfft2_centred, rfft3_centred

BOXES = [15, 16]


@pytest.fixture(params=BOXES)
def box(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (3, 5)])
def test_shift_theorem(box: int, shift: tuple[int, int], generator: torch.Generator) -> None:
    """A shift by (x, y) pixels towards larger index multiplies by ``exp(−2πi k·shift / n)``."""
    image = torch.randn(1, box, box, generator=generator, dtype=torch.float64)
    kx, ky = half_plane_indices(box)
    phase = torch.exp(-2j * math.pi * (kx.double() * shift[0] + ky.double() * shift[1]) / box)
    moved = image.roll((shift[1], shift[0]), dims=(1, 2))
    torch.testing.assert_close(rfft2_centred(image) * phase, rfft2_centred(moved))


def test_fractional_shift_of_a_gaussian(box: int) -> None:
    """Half-pixel shifts move a band-limited blob to where its formula says."""

    def blob(x: float, y: float) -> torch.Tensor:
        r = torch.arange(box).double() - box // 2
        return torch.exp(-((r[None, :] - x) ** 2 + (r[:, None] - y) ** 2) / (2 * 1.4**2))[None]

    kx, ky = half_plane_indices(box)
    phase = torch.exp(-2j * math.pi * (kx.double() * 0.5 - ky.double() * 1.3) / box)
    moved = irfft2_centred(rfft2_centred(blob(0, 0)) * phase, box)
    torch.testing.assert_close(moved, blob(0.5, -1.3), atol=2e-4, rtol=0)


def test_friedel_symmetry(box: int, generator: torch.Generator) -> None:
    """``F(−k) = F(k)*`` of a real map; of an image, read on the column kx = 0."""
    image = torch.randn(1, box, box, generator=generator, dtype=torch.float64)
    column = rfft2_centred(image)[0, :, 0]
    torch.testing.assert_close(column[1:].flip(0), column[1:].conj())
    volume = torch.randn(box, box, box, generator=generator, dtype=torch.float64)
    plane = rfft3_centred(volume)[:, :, 0]
    torch.testing.assert_close(plane[1:, 1:].flip(0, 1), plane[1:, 1:].conj())


def test_a_point_symmetric_image_has_a_real_transform(generator: torch.Generator) -> None:
    image = torch.randn(1, 15, 15, generator=generator, dtype=torch.float64)
    transform = rfft2_centred(image + image.flip(1, 2))
    assert transform.imag.abs().max() < 1e-12 * transform.real.abs().max() * 100


def test_parseval(box: int, generator: torch.Generator) -> None:
    """``Σ|F|² = n² Σ x²``, the half plane counted twice but for its own mates."""
    image = torch.randn(1, box, box, generator=generator, dtype=torch.float64)
    weight = torch.full((box // 2 + 1,), 2.0, dtype=torch.float64)
    weight[0] = 1
    if box % 2 == 0:
        weight[-1] = 1
    power = (rfft2_centred(image).abs().square() * weight).sum()
    torch.testing.assert_close(power, box**2 * image.square().sum())


@pytest.mark.parametrize("snr", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("size", [31, 32])
def test_fsc_of_signal_with_independent_noise(snr: float, size: int) -> None:
    """Two noisy copies correlate by SNR/(1 + SNR) in every shell; one against the signal by its root."""
    generator = torch.Generator().manual_seed(3)
    signal, first, second = torch.randn(3, size, size, size, generator=generator, dtype=torch.float64)
    first, second = (signal + noise / snr**0.5 for noise in (first, second))
    counts = shell_sums(torch.ones(size, size, size // 2 + 1), size)
    half = snr / (1 + snr)
    for curve, expected in ((fsc(first, second), half), (fsc(first, signal), half**0.5)):
        # Fisher's standard error of a correlation, of as many pairs as there are independent coefficients
        sigma = (1 - expected**2) / (counts / 2).sqrt()
        z = ((curve - expected) / sigma)[3:]
        assert z.abs().max() < 4
        assert abs(z.mean()) < 4 / len(z) ** 0.5


def test_fsc_does_not_change_when_both_maps_turn_by_a_quarter(generator: torch.Generator) -> None:
    first, second = torch.randn(2, 15, 15, 15, generator=generator, dtype=torch.float64)
    turned = [volume.rot90(1, (1, 2)) for volume in (first, second)]
    torch.testing.assert_close(fsc(*turned), fsc(first, second))
