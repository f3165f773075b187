"""Choosing pixel size, resolution and centre for a specimen."""

import math
from collections.abc import Sequence

import torch

from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.density import DensityGrid
from vitreous.simulate.motions import State
from vitreous.typing import Float

_FILLED = 0.8
"""Share of the box that the specimen's diameter fills where no pixel size is given."""

_PIXELS_PER_RESOLUTION = 2.2
"""The soft edge of the low-pass filter then ends at Nyquist."""


def plan_grid(states: Sequence[State], config: SimulationConfig, centre_A: Float[torch.Tensor, "3"]) -> DensityGrid:
    """Return the grid of the ground-truth maps; what the configuration leaves open follows from the specimen."""
    pixel_size_A = config.pixel_size
    if pixel_size_A is None:
        radius = max(float((state.atoms.xyz_A - centre_A).norm(dim=1).max()) for state in states)
        pixel_size_A = max(0.05, math.ceil(20 * 2 * radius / (_FILLED * config.box)) / 20)
    resolution_A = round(_PIXELS_PER_RESOLUTION * pixel_size_A, 4) if config.resolution is None else config.resolution
    return DensityGrid(config.box, pixel_size_A, resolution_A)
