"""Noise of simulated stacks, in blocks that depend on the seed and the block's number only."""

import torch

from vitreous.physics.noise import coloured_noise, white_noise
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.streams import named_stream
from vitreous.typing import Float, Images

_FLOOR = 0.25


def noise_power(config: SimulationConfig, pixel_size_A: float) -> Float[torch.Tensor, " shells"]:
    """Power per shell, ``∝ 1/4 + 1/(1 + (s · noise_scale)²)``, scaled so that a pixel has variance 1."""
    k = torch.fft.fftfreq(config.box, 1 / config.box, dtype=torch.float64)
    radius = torch.floor(torch.hypot(k[:, None], k) + 0.5).long()
    shell = torch.arange(int(radius.max()) + 1, dtype=torch.float64)
    s_per_A = shell / (config.box * pixel_size_A)
    power = _FLOOR + 1 / (1 + (s_per_A * config.noise_scale) ** 2)
    return power / power[radius].mean()


def noise_block(block: int, n: int, config: SimulationConfig, pixel_size_A: float) -> Images:
    """Noise of variance 1 for the ``n`` images of a block."""
    generator = named_stream(config.seed, f"noise {block}")
    if config.noise == "white":
        return white_noise(n, config.box, generator)
    return coloured_noise(n, config.box, noise_power(config, pixel_size_A), generator)
