"""Tokens: they turn with the image, know the noise, ignore the scale, and sit where their coordinates say."""

import math
from dataclasses import replace

import pytest
import torch

from tests.methods.fastar.small import BOTH, LINES, PATCHES, random_views
from vitreous.errors import ConfigError
from vitreous.fourier.polar import radial_lines
from vitreous.fourier.transform import irfft2_centred
from vitreous.geometry.planar_maps import pixel_coordinates
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.tokens import LineTokens, PatchTokens, Tokeniser, make_tokeniser
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, CTF_UNKNOWN, Views, soft_disc
from vitreous.simulate.bead_views import project_beads

TOKENS = LINES.lines // LINES.group
ANGLE = 2 * math.pi / TOKENS


def turn(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]])


def blob_images(centres: torch.Tensor, box: int = LINES.box) -> torch.Tensor:
    """Views ``[n, y, x]`` of narrow blobs at ``[n, b, 2]``, in pixels from the centre."""
    axis = torch.arange(box).double() - box // 2
    x, y = (torch.exp(-((axis - centres[..., i, None].double()) ** 2) / (2 * 1.2**2)) for i in (0, 1))
    return 30 * torch.einsum("nby,nbx->nyx", y, x).float()


def unknown(images: torch.Tensor) -> Views:
    return Views(images, images.new_ones(*images.shape[:2], images.shape[-1] // 2 - 1), torch.zeros(1).long())


def clean_views(generator: torch.Generator) -> torch.Tensor:
    """Points, whose transforms are strong in every shell."""
    beads = 0.12 * torch.randn(1, 40, 3, generator=generator)
    rotations = random_rotations(8, generator)[None]
    transforms = project_beads(beads, torch.ones(1, 40), rotations, torch.zeros(1, 8, 2), LINES.box)
    return 3000 * irfft2_centred(transforms, LINES.box)


def features_of(tokeniser: LineTokens | PatchTokens, views: Views) -> torch.Tensor:
    """What the first linear layer sees."""
    seen = []
    with torch.no_grad(), tokeniser.embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        tokeniser(views)
    return seen[0]


@pytest.mark.parametrize("steps", [1, 7])
def test_turning_a_view_by_a_token_turns_the_tokens(steps: int, generator: torch.Generator) -> None:
    tokeniser = LineTokens(LINES)
    centres = 2.5 * torch.randn(4, 6, 2, generator=generator)
    turned = centres.clone()
    turned[2] = centres[2] @ turn(steps * ANGLE).T
    before, after = (features_of(tokeniser, unknown(blob_images(c)[None])) for c in (centres, turned))
    torch.testing.assert_close(after[:, 2], before[:, 2].roll(steps, 1), atol=2e-3, rtol=0)
    torch.testing.assert_close(after[:, [0, 1, 3]], before[:, [0, 1, 3]], atol=2e-3, rtol=0)
    assert (before[:, 2].roll(steps, 1) - before[:, 2]).abs().max() > 0.5


def test_shifts_turn_with_the_tokens(generator: torch.Generator) -> None:
    tokeniser = LineTokens(LINES)
    predicted = torch.randn(2, 3, TOKENS, 2, generator=generator)
    turned = tokeniser.shifts(predicted.roll(5, 2))
    torch.testing.assert_close(turned, tokeniser.shifts(predicted).roll(5, 2) @ turn(5 * ANGLE).T, atol=1e-6, rtol=0)
    assert torch.equal(PatchTokens(PATCHES).shifts(predicted), predicted)


def test_noise_of_masked_views_has_the_power_that_is_expected(generator: torch.Generator) -> None:
    tokeniser = LineTokens(LINES)
    noise = torch.randn(1, 600, LINES.box, LINES.box, generator=generator) * soft_disc(LINES.box)
    power = radial_lines(noise, tokeniser.matrix, LINES.shells).abs().square().mean((0, 1, 2))
    torch.testing.assert_close(power, tokeniser.noise, rtol=0.1, atol=0)
    assert 0.5 < float(tokeniser.noise.mean()) < 0.75  # area of the mask over that of the view


@pytest.mark.parametrize("treatment", [CTF_UNKNOWN, CTF_FLIPPED])
def test_noise_alone_is_weighted_down(treatment: int, generator: torch.Generator) -> None:
    tokeniser = LineTokens(LINES)
    noise = torch.randn(1, 64, LINES.box, LINES.box, generator=generator) * soft_disc(LINES.box)
    views = replace(unknown(noise), treatment=torch.tensor([treatment]))
    assert features_of(tokeniser, views).square().mean() < 0.1
    assert features_of(tokeniser, replace(views, images=30 * noise)).square().mean() > 0.9


def test_whitened_features_have_unit_variance_in_every_shell(generator: torch.Generator) -> None:
    features = features_of(LineTokens(LINES), unknown(clean_views(generator)))
    by_shell = features.unflatten(-1, (LINES.group, LINES.shells, 2))
    torch.testing.assert_close(by_shell.square().mean((0, 1, 2, 3)), torch.ones(LINES.shells, 2), rtol=0.02, atol=0)


@pytest.mark.parametrize("kind", BOTH)
def test_scale_of_a_clean_set_does_not_matter(kind: str, generator: torch.Generator) -> None:
    tokeniser, images = make_tokeniser(BOTH[kind]), clean_views(generator)
    first, second = (features_of(tokeniser, unknown(scale * images)) for scale in (1.0, 300.0))
    torch.testing.assert_close(first, second, rtol=0, atol=5e-3)


def test_noise_after_multiplication_by_the_ctf_is_weaker(generator: torch.Generator) -> None:
    """Views that were multiplied by a CTF of ½ show half the noise: the same features at half the scale."""
    tokeniser = LineTokens(LINES)
    images = 3 * torch.randn(1, 8, LINES.box, LINES.box, generator=generator)
    whole = unknown(images)
    half = Views(images / 2, 0.5 * whole.ctf_size, torch.tensor([CTF_MULTIPLIED]))
    torch.testing.assert_close(features_of(tokeniser, half), features_of(tokeniser, whole), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch", [4, 8])
def test_pixels_of_a_patch_lie_at_its_coordinates(patch: int) -> None:
    config = replace(PATCHES, patch=patch)
    tokeniser = PatchTokens(config)
    grid = pixel_coordinates(config.box).unflatten(0, (config.box, config.box))
    for axis in (0, 1):
        features = features_of(tokeniser, unknown(grid[None, None, ..., axis]))
        scale = grid[..., axis].square().mean().sqrt()
        torch.testing.assert_close(features.flatten() * scale, tokeniser.coordinates[:, axis], atol=1e-6, rtol=1e-5)
    assert len(tokeniser.coordinates) == (config.box // patch) ** 2 * tokeniser.points == config.box**2
    assert len(tokeniser.rotary(16).cos) == (config.box // patch) ** 2


def test_lines_of_a_token_lie_around_its_direction() -> None:
    """A plane wave along a token's direction is bright in the token, and in the opposite one."""
    tokeniser, axis = LineTokens(LINES), (torch.arange(LINES.box) - LINES.box // 2) / LINES.box
    for token in (0, 5, 13):
        x, y, _ = tokeniser.coordinates[token].tolist()
        wave = torch.cos(2 * math.pi * 8 * (x * axis + y * axis[:, None]))
        power = radial_lines(wave[None], tokeniser.matrix, LINES.shells)[0, :, 7].abs().unflatten(0, (-1, 2)).mean(1)
        assert set(power.topk(2).indices.tolist()) == {token, (token + TOKENS // 2) % TOKENS}


@pytest.mark.parametrize("kind", BOTH)
def test_tokenisers_keep_one_interface(kind: str, generator: torch.Generator) -> None:
    config = BOTH[kind]
    tokeniser = make_tokeniser(config)
    assert isinstance(tokeniser, Tokeniser)
    tokens = tokeniser(random_views(generator, config))
    assert tokens.features.shape == (2, 6, len(tokeniser.coordinates) // tokeniser.points, config.width)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"width": 30}, "--model.width"),
        ({"width": 32, "heads": 16}, "--model.heads"),
        ({"decoder_width": 40}, "--model.decoder-width"),
        ({"tokens": "patch", "patch": 5, "matches": 0, "maps": 0}, "--model.patch"),
        ({"tokens": "patch", "maps": 0}, "--model.matches 0"),
        ({"decoder_depth": 2}, "--model.maps"),
        ({"map_filters": 0}, "--model.map-filters"),
        ({"lines": 46, "group": 2}, "--model.lines"),
        ({"shells": 16}, "--model.shells"),
    ],
)
def test_models_that_cannot_be_built_name_the_flag(wrong: dict, flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        ModelConfig(**wrong)
