"""The encoder: filters, sizes, and poses that are poses."""

import math
from itertools import pairwise

import pytest
import torch

from vitreous.geometry.rotations import random_rotations, rotation_from_axes
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.encoder import (
    DoubleConv,
    Encoder,
    PaddedConv,
    filter_lines,
    gaussian_filters,
    pools_for,
)

SMALL = CryoAIConfig(channels=4, heads=3, shift_range=0.1)


def test_filters_are_gaussians_whose_cut_offs_are_geometric() -> None:
    filters = gaussian_filters()
    assert filters.shape == (5, 1, 11, 11)
    torch.testing.assert_close(filters.sum((1, 2, 3)), torch.ones(5))
    ratio = (filters[2, 0, 5, 5] / filters[2, 0, 5, 6]).log() * 2
    assert float(ratio) == pytest.approx(1.0, rel=1e-4)  # the middle one: σ of one pixel
    widths = [float(((filters[i, 0, 5, 5] / filters[i, 0, 5, 6]).log() * 2).sqrt()) for i in range(4)]
    assert [b / a for a, b in pairwise(widths)] == pytest.approx([math.sqrt(10)] * 3, rel=1e-2)
    assert float(filters[4, 0, 5, 5]) == pytest.approx(1.0)


@pytest.mark.parametrize("box", [8, 16, 31])
def test_filters_as_matrices_are_the_filters(box: int, generator) -> None:
    images, lines = torch.randn(3, 1, box, box, generator=generator), filter_lines(box)
    expected = torch.nn.functional.conv2d(images, gaussian_filters(), padding=5)
    torch.testing.assert_close(lines @ images @ lines.mT, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", [2, 4])
def test_a_padded_convolution_is_one_at_every_size(side: int, generator) -> None:
    torch.manual_seed(0)
    ours, images = PaddedConv(3, 5), torch.randn(4, 3, side, side, generator=generator)
    plain = torch.nn.Conv2d(3, 5, 3, padding=1)
    plain.load_state_dict(ours.state_dict())
    found, expected = ours(images), plain(images)
    torch.testing.assert_close(found, expected)
    for output in (found, expected):
        output.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


@pytest.mark.parametrize(("box", "pools"), [(256, 6), (128, 6), (64, 5), (48, 4), (32, 4), (16, 3)])
def test_images_are_halved_until_two_pixels_are_left(box: int, pools: int) -> None:
    assert pools_for(box) == pools
    assert box >> pools >= 2


def test_at_the_papers_size_the_features_are_the_papers() -> None:
    encoder = Encoder(128, CryoAIConfig(encoder="cnn", channels=64, heads=1))
    convolutions = [part for part in encoder.features if isinstance(part, DoubleConv)]
    assert [block.layers[0].out_channels for block in convolutions] == [64, 128, 256, 1024, 2048]
    assert encoder.rotation_head[0].in_features == encoder.shift_head[0].in_features == 8192
    assert [encoder.rotation_head[i].out_features for i in (0, 2, 4)] == [512, 256, 6]


@pytest.mark.parametrize("box", [16, 32, 48])
@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
def test_guesses_are_rotations_and_shifts_within_the_range(box: int, encoder: str, generator) -> None:
    torch.manual_seed(0)
    guesses = Encoder(box, SMALL)(torch.randn(5, box, box, generator=generator))
    assert guesses.rotations.shape == (5, 3, 3, 3)
    identity = torch.eye(3).expand(5, 3, 3, 3)
    torch.testing.assert_close(guesses.rotations @ guesses.rotations.mT, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(guesses.rotations), torch.ones(5, 3), atol=1e-5, rtol=0)
    assert float(guesses.shifts.detach().abs().max()) < 0.1


def test_an_image_is_seen_alike_whatever_is_beside_it(generator) -> None:
    torch.manual_seed(0)
    encoder, images = Encoder(16, SMALL), torch.randn(4, 16, 16, generator=generator)
    torch.testing.assert_close(encoder(images).rotations[:1], encoder(images[:1]).rotations, atol=1e-5, rtol=0)


def test_axes_of_a_rotation_give_it_back_whatever_their_length(generator) -> None:
    rotations = random_rotations(10, generator)
    x, y = rotations[:, 0], rotations[:, 1]
    torch.testing.assert_close(rotation_from_axes(3 * x, 0.5 * y + 2 * x), rotations, atol=1e-5, rtol=0)
