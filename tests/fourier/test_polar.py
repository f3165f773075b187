"""Radial lines of an image's transform are exact, turn with the image, and keep the power of white noise."""

import math

import pytest
import torch

from vitreous.fourier.polar import polar_matrix, radial_lines
from vitreous.fourier.transform import rfft2_centred

LINES, SHELLS = 24, 7


def lines_of(images: torch.Tensor) -> torch.Tensor:
    return radial_lines(images, polar_matrix(images.shape[-1], LINES, SHELLS), SHELLS)


@pytest.mark.parametrize("box", [16, 17])
def test_lines_are_sums_over_pixels(box: int, generator: torch.Generator) -> None:
    images = torch.randn(2, 3, box, box, generator=generator)
    expected = torch.zeros(2, 3, LINES, SHELLS, dtype=torch.complex128)
    place = torch.arange(box).double() - box // 2
    for line in range(LINES):
        for shell in range(SHELLS):
            angle, radius = 2 * math.pi * line / LINES, shell + 1
            wave_x = torch.exp(-2j * math.pi * radius * math.cos(angle) * place / box)
            wave_y = torch.exp(-2j * math.pi * radius * math.sin(angle) * place / box)
            product = torch.einsum("bnyx,y,x->bn", images.to(wave_x.dtype), wave_y, wave_x)
            expected[..., line, shell] = product / box
    torch.testing.assert_close(lines_of(images).to(expected.dtype), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("box", [16, 17])
def test_lines_along_the_axes_are_those_of_the_transform(box: int, generator: torch.Generator) -> None:
    images = torch.randn(1, 2, box, box, generator=generator)
    transforms, lines = rfft2_centred(images) / box, lines_of(images)
    torch.testing.assert_close(lines[..., 0, :], transforms[..., 0, 1 : SHELLS + 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(lines[..., LINES // 4, :], transforms[..., 1 : SHELLS + 1, 0], atol=1e-5, rtol=0)


def test_opposite_lines_are_conjugate(generator: torch.Generator) -> None:
    lines = lines_of(torch.randn(1, 2, 16, 16, generator=generator))
    assert torch.equal(lines.roll(LINES // 2, -2), lines.conj())


def test_quarter_turn_of_the_pixels_moves_the_lines_by_a_quarter(generator: torch.Generator) -> None:
    images = torch.randn(1, 2, 17, 17, generator=generator)
    turned = torch.rot90(images, -1, (-2, -1))  # +x goes to +y: indices grow downwards
    torch.testing.assert_close(lines_of(turned), lines_of(images).roll(LINES // 4, -2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [1, 5])
def test_turn_by_whole_lines_moves_the_lines(steps: int, generator: torch.Generator) -> None:
    centres = 3.0 * torch.randn(6, 2, generator=generator).double()
    angle = torch.tensor(2 * math.pi * steps / LINES).double()
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    axis = torch.arange(40).double() - 20

    def image(at: torch.Tensor) -> torch.Tensor:
        waves = [torch.exp(-((axis - at[:, i, None]) ** 2) / (2 * 1.5**2)) for i in (0, 1)]
        return torch.einsum("by,bx->yx", waves[1], waves[0]).float()[None]

    torch.testing.assert_close(
        lines_of(image(centres @ turn.T)), lines_of(image(centres)).roll(steps, -2), atol=1e-5, rtol=0
    )


def test_white_noise_has_unit_power_in_every_coefficient() -> None:
    columns = polar_matrix(16, LINES, SHELLS).unflatten(1, (-1, 2))
    torch.testing.assert_close(columns.square().sum((0, 2)), torch.ones(LINES // 2 * SHELLS))
