"""What is true of every simulated particle, each quantity drawn from its own stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vitreous.data import Optics, Poses
from vitreous.errors import ConfigError, InputError
from vitreous.io.relion import read_relion
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.motions import State
from vitreous.simulate.optics import draw_optics
from vitreous.simulate.split import draw_split
from vitreous.simulate.streams import named_stream
from vitreous.simulate.views import preferred_views, uniform_views
from vitreous.typing import Int, Rotations, Shifts


@dataclass(frozen=True)
class Truth:
    """Poses, optics, states and parts of n particles.

    Attributes
    ----------
    poses, optics
        One per particle.
    state
        Index of each particle's state, from 0.
    split
        Number of its part in :data:`vitreous.simulate.split.SPLITS`.
    """

    poses: Poses
    optics: Optics
    state: Int[torch.Tensor, " n"]
    split: Int[torch.Tensor, " n"]

    def __len__(self) -> int:
        return len(self.state)


def draw_truth(config: SimulationConfig, states: Sequence[State], pixel_size_A: float) -> Truth:
    """Draw poses, shifts, CTFs, states and parts; none of them depends on another.

    Raises
    ------
    ConfigError, InputError
        If a file of views or CTFs cannot be used.
    """
    poses = Poses(draw_views(config), draw_shifts(config, pixel_size_A))
    state = draw_states(config, states)
    return Truth(poses, draw_optics(config), state, draw_split(config, state, len(states)))


def draw_views(config: SimulationConfig) -> Rotations:
    """Draw rotations: uniform, about a preferred axis, or those of a file in turn."""
    if config.views == "uniform":
        return uniform_views(config.n, config.seed)
    if config.views == "preferred":
        return preferred_views(config.n, config.seed, config.preferred_axis, config.concentration)
    path = Path(config.views)
    if path.suffix != ".star" or not path.is_file():
        raise ConfigError(
            "--views cannot be used",
            expected="uniform, preferred or an existing STAR file",
            found=config.views,
            remedy="Give one of them",
        )
    given = read_relion(path).poses
    if given is None:
        raise InputError("the STAR file holds no poses", path=path, remedy="Give one with rlnAngleRot, -Tilt and -Psi")
    return given.rotations[torch.arange(config.n) % len(given)].float()


def draw_shifts(config: SimulationConfig, pixel_size_A: float) -> Shifts:
    """Draw shifts in Å, uniform in x and y."""
    drawn = torch.rand(config.n, 2, generator=named_stream(config.seed, "shift"))
    return (2 * drawn - 1) * config.shift * pixel_size_A


def draw_states(config: SimulationConfig, states: Sequence[State]) -> Int[torch.Tensor, " n"]:
    """Draw the state of each particle by the states' weights."""
    weights = torch.tensor([state.weight for state in states], dtype=torch.float64)
    generator = named_stream(config.seed, "conformation")
    return torch.multinomial(weights, config.n, replacement=True, generator=generator)
