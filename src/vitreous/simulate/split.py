"""Which particles a method may see: training particles, unseen ones of the same states, and those of unseen states."""

import math

import torch

from vitreous.errors import ConfigError
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.streams import named_stream
from vitreous.typing import Bool, Int

SPLITS = ("train", "unseen_particles", "unseen_states")
"""Names of the parts, by number; ``NAME.star`` holds each of them."""


def draw_split(config: SimulationConfig, state: Int[torch.Tensor, " n"], n_states: int) -> Int[torch.Tensor, " n"]:
    """Return the number in :data:`SPLITS` of each particle's part.

    Raises
    ------
    ConfigError
        If there are too few states to set some of them apart.
    """
    drawn = torch.rand(config.n, generator=named_stream(config.seed, "split"))
    split = (drawn < config.unseen).long()
    split[unseen_states(n_states, config.unseen_states)[state]] = 2
    return split


def unseen_states(n_states: int, share: float) -> Bool[torch.Tensor, " states"]:
    """Tell which states are set apart: evenly spaced in their order, so that seen ones lie on both sides of each."""
    numbers = [math.floor(i * share + 0.5 + 1e-9) for i in range(n_states + 1)]
    apart = torch.tensor(numbers).diff() > 0
    if share > 0 and not bool(apart.any()):
        raise ConfigError(
            "--unseen-states sets no state apart",
            found=f"{share:g} of {n_states} state{'s' if n_states > 1 else ''}",
            remedy="Simulate more states, or raise --unseen-states",
        )
    return apart
