"""Rotary position embeddings: attention that sees differences of position.

Su et al. 2021 (arXiv:2104.09864). Queries and keys are turned, pair of features by pair, by an angle linear in the
position, so that their product depends on the difference of two positions alone.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vitreous.typing import Float


class Rotary(NamedTuple):
    """Cosines and sines of the turns, each ``[tokens, head_width / 2]``."""

    cos: Float[Tensor, "tokens pairs"]
    sin: Float[Tensor, "tokens pairs"]


def circular_rotary(angles_rad: Float[Tensor, " tokens"], head_width: int, orders: int = 8) -> Rotary:
    """Turns of positions on a circle: pair ``j`` turns by ``(j mod orders) · angle``, an integer multiple.

    Attention is then exactly equivariant to a rotation of the circle by a whole number of tokens.
    """
    multiples = torch.arange(head_width // 2, device=angles_rad.device).remainder(orders)
    turns = angles_rad[:, None] * multiples
    return Rotary(turns.cos(), turns.sin())


def planar_rotary(side: int, head_width: int, longest: float = 100.0, device: torch.device | str = "cpu") -> Rotary:
    """Turns of the tokens of a ``side × side`` grid (row by row): half the pairs for y, half for x.

    Wavelengths run geometrically from 2π towards ``2π · longest`` tokens (RoPE-2D of CroCo v2, arXiv:2211.10408).
    """
    quarter = head_width // 4
    rates = torch.exp(-math.log(longest) * torch.arange(quarter, device=device) / quarter)
    axis = torch.arange(side, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    turns = torch.cat([y.reshape(-1, 1) * rates, x.reshape(-1, 1) * rates], 1)
    return Rotary(turns.cos(), turns.sin())


def turn(features: Float[Tensor, "*batch tokens width"], rotary: Rotary) -> Float[Tensor, "*batch tokens width"]:
    """Turn the features of every token; pair ``j`` is ``(j, j + width / 2)``."""
    first, second = features.chunk(2, -1)
    cos, sin = rotary.cos.to(features), rotary.sin.to(features)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
