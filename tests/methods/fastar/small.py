"""A network small enough for tests, and views for it."""

from dataclasses import replace

import torch

from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.views import Truth, Views

LINES = ModelConfig(
    width=32, heads=2, encoder_depth=1, decoder_depth=2, matches=2, maps=1, map_directions=24, map_filters=2
)
PATCHES = replace(LINES, tokens="patch", matches=0, maps=0)
BOTH = {"lines": LINES, "patch": PATCHES}
ODD = replace(LINES, box=33)
"""Lines of views whose centre is their middle pixel, so that they can be turned by 90° exactly."""


def network_of(config: ModelConfig, seed: int = 0) -> PoseNetwork:
    """Random weights, those that training starts at zero included."""
    torch.manual_seed(seed)
    network = PoseNetwork(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.02)
    return network


def random_views(
    generator: torch.Generator, config: ModelConfig = LINES, sets: int = 2, n: int = 6, treatment: int = 0
) -> Views:
    """White noise ten times as strong as the noise that the network expects."""
    images = 10 * torch.randn(sets, n, config.box, config.box, generator=generator)
    ctf_size = torch.rand(sets, n, config.box // 2 - 1, generator=generator)
    return Views(images, ctf_size, torch.full((sets,), treatment))


def random_truth(generator: torch.Generator, sets: int = 2, n: int = 6) -> Truth:
    rotations = random_rotations(sets * n, generator).unflatten(0, (sets, n))
    return Truth(rotations, 0.05 * torch.randn(sets, n, 2, generator=generator))


def quarter_turned(images: torch.Tensor) -> torch.Tensor:
    """Turn views of odd size by 90° from x towards y."""
    return torch.rot90(images, -1, (-2, -1))
