"""How radius, grid, shifts, sharpness and memory change over the stochastic iterations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.methods.search.config import SearchConfig
from vitreous.typing import Shifts

ANNEALED_SHARE = 0.4
"""Over this share of the iterations the posterior is kept broad."""

START_EFFECTIVE_POSES = 30.0
SHIFTLESS_SHARE = 0.15
"""Share of the iterations before shifts are searched: the map's centre is not settled yet."""

SHIFT_STEPS_PER_PERIOD = 3.5
GRID_NSIDE = 4
GRID_INPLANE = 24
"""192 directions × 24 in-plane angles: 15° spacing. The stochastic iterations turn the whole grid at random."""

MEMORY_IMAGES = (600.0, 3000.0)
"""Images that the running sums remember, first and last."""


@dataclass(frozen=True)
class Step:
    """One stochastic iteration.

    Attributes
    ----------
    radius
        Resolution in Fourier pixels.
    effective_poses
        Median number of poses that share an image's weight, or None for the likelihood itself.
    with_shifts
        Whether shifts are searched.
    memory
        Images that the running sums remember.
    batch_share
        Images of the minibatch over those that the settings say.
    """

    radius: float
    effective_poses: float | None
    with_shifts: bool
    memory: float
    batch_share: float = 1.0


def schedule(config: SearchConfig) -> list[Step]:
    """Plan all stochastic iterations: radius up linearly, effective poses down to one, memory up geometrically."""
    steps = []
    for i in range(config.iterations):
        f = i / max(1, config.iterations - 1)
        effective = START_EFFECTIVE_POSES ** (1 - f / ANNEALED_SHARE) if f < ANNEALED_SHARE else None
        low, high = MEMORY_IMAGES
        radius = config.start_radius + (config.search_radius - config.start_radius) * f
        steps.append(Step(radius, effective, f >= SHIFTLESS_SHARE, low * (high / low) ** f))
    return steps


def shift_step_px(box: int, radius: float) -> float:
    """Spacing of the shift grid: 3.5 steps per period of the finest wave."""
    return box / (SHIFT_STEPS_PER_PERIOD * radius)


def shift_grid(box: int, radius: float, range_share: float, jitter: torch.Generator | None) -> Shifts:
    """Square grid of shifts in pixels that covers ± ``range_share`` of the box, moved by a random part of a step."""
    step = shift_step_px(box, radius)
    half = round(range_share * box / step)
    axis = step * torch.arange(-half, half + 1, dtype=torch.float32)
    offset = torch.zeros(2) if jitter is None or half == 0 else (torch.rand(2, generator=jitter) - 0.5) * step
    grid: Tensor = torch.cartesian_prod(axis, axis) if half else torch.zeros(1, 2)
    return grid + offset
