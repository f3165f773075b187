"""The centred transform against its definition and its laws, for odd and even boxes."""

import math

import pytest
import torch

from vitreous.fourier.transform import (
    centred_resize,
    fourier_crop,
    irfft2_centred,
    irfft3_centred,
    rfft2_centred,
    rfft3_centred,
)

BOXES = [1, 2, 7, 8, 15, 16]


@pytest.fixture(params=BOXES)
def box(request: pytest.FixtureRequest) -> int:
    return request.param


def signed(index: int, n: int) -> int:
    """Frequency of an index in FFT order."""
    return index if index < (n + 1) // 2 else index - n


def test_definition_in_two_dimensions(box: int, generator: torch.Generator) -> None:
    """``F(k) = Σ x[r] exp(−2πi k·(r − n//2)/n)``, summed by hand."""
    image = torch.randn(1, box, box, generator=generator, dtype=torch.float64)
    r = torch.arange(box).double() - box // 2
    k = torch.tensor([signed(i, box) for i in range(box)]).double()
    basis = torch.exp(-2j * math.pi * k[:, None] * r / box)
    expected = basis @ image[0].to(torch.complex128) @ basis.T
    # At the Nyquist frequency of an even box +n/2 and −n/2 are one coefficient.
    torch.testing.assert_close(rfft2_centred(image)[0], expected[:, : box // 2 + 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse(box: int, dtype: torch.dtype, generator: torch.Generator) -> None:
    images = torch.randn(3, box, box, generator=generator, dtype=dtype)
    maps = torch.randn(2, box, box, box, generator=generator, dtype=dtype)
    torch.testing.assert_close(irfft2_centred(rfft2_centred(images), box), images)
    torch.testing.assert_close(irfft3_centred(rfft3_centred(maps), box), maps)


def test_a_delta_at_the_centre_is_flat(box: int) -> None:
    image, volume = torch.zeros(1, box, box), torch.zeros(box, box, box)
    image[0, box // 2, box // 2] = 1
    volume[box // 2, box // 2, box // 2] = 1
    assert torch.allclose(rfft2_centred(image), torch.ones((), dtype=torch.complex64))
    assert torch.allclose(rfft3_centred(volume), torch.ones((), dtype=torch.complex64))


def test_batch_axes_are_kept(generator: torch.Generator) -> None:
    images = torch.randn(2, 3, 8, 8, generator=generator)
    assert torch.equal(rfft2_centred(images)[1, 2], rfft2_centred(images[1, 2]))


@pytest.mark.parametrize("small", [1, 4, 5])
@pytest.mark.parametrize("large", [5, 8, 9])
def test_resize_keeps_the_centre(small: int, large: int, generator: torch.Generator) -> None:
    array = torch.randn(2, small, small, generator=generator)
    padded = centred_resize(array, large, (1, 2))
    assert padded[0, large // 2, large // 2] == array[0, small // 2, small // 2]
    assert padded.sum() == pytest.approx(float(array.sum()), abs=1e-5)
    assert torch.equal(centred_resize(padded, small, (1, 2)), array)
    assert torch.equal(centred_resize(array, small, (1, 2)), array)


def test_resize_touches_only_the_axes_named(generator: torch.Generator) -> None:
    array = torch.randn(4, 5, 6, generator=generator)
    assert centred_resize(array, 9, (1,)).shape == (4, 9, 6)
    assert torch.equal(centred_resize(array, 3, (2,)), array[:, :, 2:5])


def plane_wave(n: int, k: tuple[int, int]) -> torch.Tensor:
    r = (torch.arange(n).double() - n // 2) / n
    return torch.cos(2 * math.pi * (k[0] * r[None, :] + k[1] * r[:, None]) + 0.3)[None]


@pytest.mark.parametrize(("n", "box"), [(16, 8), (16, 9), (15, 8), (15, 9), (8, 16), (9, 16), (8, 15), (9, 15)])
def test_crop_samples_band_limited_images(n: int, box: int) -> None:
    """A wave below both Nyquist limits is the same wave on the new grid, about the same centre."""
    for k in ((0, 0), (1, 0), (0, 3), (2, -3), (3, 1)):
        torch.testing.assert_close(fourier_crop(plane_wave(n, k), box), plane_wave(box, k), atol=1e-12, rtol=0)


def test_crop_removes_what_the_new_grid_cannot_hold() -> None:
    assert fourier_crop(plane_wave(16, (6, 0)), 9).abs().max() < 1e-12
    assert fourier_crop(plane_wave(16, (4, 0)), 8).abs().max() < 1e-12


@pytest.mark.parametrize(("n", "larger"), [(15, 16), (15, 21), (9, 24)])
def test_padding_then_cropping_is_the_identity_for_odd_boxes(n: int, larger: int, generator: torch.Generator) -> None:
    images = torch.randn(2, n, n, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(fourier_crop(fourier_crop(images, larger), n), images)


def test_crop_to_the_same_box_is_the_identity(generator: torch.Generator) -> None:
    images = torch.randn(2, 8, 8, generator=generator)
    assert torch.equal(fourier_crop(images, 8), images)
