"""The shift theorem: whole pixels are rolls, fractions are those of a band-limited image, ramps compose."""

import pytest
import torch

from tests.physics.blobs import make_blobs, relative_error
from vitreous.fourier.frequencies import disc
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.physics.shifts import disc_phases, half_plane_phases

BOXES = [16, 17, 32, 33]


def shifted(images: torch.Tensor, shifts_px: torch.Tensor) -> torch.Tensor:
    box = images.shape[-1]
    return irfft2_centred(rfft2_centred(images) * half_plane_phases(shifts_px, box), box)


@pytest.mark.parametrize("box", BOXES)
def test_whole_pixels_roll_the_image(box: int, generator: torch.Generator) -> None:
    """+x goes to larger column, +y to larger row."""
    images = torch.randn(4, box, box, generator=generator)
    moves = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 2.0], [5.0, -4.0]])
    expected = torch.stack([im.roll((int(t[1]), int(t[0])), (0, 1)) for im, t in zip(images, moves, strict=True)])
    torch.testing.assert_close(shifted(images, moves), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_fractions_move_blobs_where_they_belong(box: int, generator: torch.Generator) -> None:
    blobs = make_blobs(box)
    eye = torch.eye(3).expand(5, 3, 3)
    moves = 3 * torch.randn(5, 2, generator=generator)
    centred, expected = (blobs.projections(eye, t, box) for t in (torch.zeros(5, 2), moves))
    assert relative_error(shifted(centred.float(), moves), expected) < 1e-4


@pytest.mark.parametrize("box", BOXES)
def test_shifts_compose_and_preserve_power(box: int, generator: torch.Generator) -> None:
    images = torch.randn(3, box, box, generator=generator)
    images = irfft2_centred(disc(box, box / 2).scatter(disc(box, box / 2).gather(rfft2_centred(images))), box)
    first, second = (2 * torch.randn(3, 2, generator=generator) for _ in range(2))
    assert relative_error(shifted(shifted(images, first), second), shifted(images, first + second)) < 1e-5
    assert float(shifted(images, first).norm()) == pytest.approx(float(images.norm()), rel=1e-5)


@pytest.mark.parametrize("box", BOXES)
def test_disc_and_half_plane_hold_the_same_ramps(box: int, generator: torch.Generator) -> None:
    coefficients = disc(box, box / 2)
    moves = 4 * torch.randn(3, 2, generator=generator)
    expected = coefficients.gather(half_plane_phases(moves, box))
    torch.testing.assert_close(disc_phases(moves, coefficients), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(disc_phases(moves, coefficients, 20), expected[:, :20], atol=1e-5, rtol=0)


@pytest.mark.parametrize("box", BOXES)
def test_gradients_equal_finite_differences(box: int, generator: torch.Generator) -> None:
    moves = torch.randn(2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: torch.view_as_real(disc_phases(t, disc(9, 4.0))), (moves,))
