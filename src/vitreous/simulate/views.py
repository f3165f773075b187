"""Distributions of views."""

import math

import torch
from torch import Tensor

from vitreous.geometry.rotations import random_rotations, rotation_from_euler
from vitreous.simulate.streams import named_stream
from vitreous.typing import Float, Rotations


def uniform_views(n: int, seed: int) -> Rotations:
    """Rotations uniform on SO(3)."""
    return random_rotations(n, named_stream(seed, "pose"))


def preferred_views(n: int, seed: int, axis: tuple[float, float, float], concentration: float) -> Rotations:
    """Rotations whose beam direction, in the particle's frame, follows a von Mises–Fisher distribution.

    Parameters
    ----------
    n, seed
        How many, and the seed of the simulation.
    axis
        The preferred beam direction ``(x, y, z)`` in the particle's frame.
    concentration
        κ: 0 is uniform; at 10, half of the views lie within 21° of the axis.
    """
    generator = named_stream(seed, "pose")
    u, azimuth, psi = torch.rand(3, n, generator=generator, dtype=torch.float64)
    along = 2 * u - 1 if concentration == 0 else _cosine(u, concentration)
    across = torch.sqrt((1 - along**2).clamp_min(0))
    first, second, third = _frame(axis)
    turn = 2 * math.pi * azimuth
    beam = (across * turn.cos())[:, None] * first + (across * turn.sin())[:, None] * second + along[:, None] * third
    return rotations_of_beams(beam, 360 * psi).float()


def _cosine(u: Float[Tensor, " n"], concentration: float) -> Float[Tensor, " n"]:
    """Cosine to the axis by inversion of its distribution (Wood 1994, doi:10.1080/03610919408813161, in 3D)."""
    return 1 + torch.log(u + (1 - u) * math.exp(-2 * concentration)) / concentration


def _frame(axis: tuple[float, float, float]) -> tuple[Tensor, Tensor, Tensor]:
    third = torch.tensor(axis, dtype=torch.float64)
    third = third / third.norm()
    helper = torch.eye(3, dtype=torch.float64)[int(third.abs().argmin())]
    first = torch.linalg.cross(third, helper)
    first = first / first.norm()
    return first, torch.linalg.cross(third, first), third


def rotations_of_beams(beams: Float[Tensor, "n 3"], psi_deg: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Rotations that bring the particle's direction ``beams`` to lab z, with RELION's in-plane angle psi."""
    rot = torch.rad2deg(torch.atan2(beams[:, 1], beams[:, 0]))
    tilt = torch.rad2deg(torch.acos(beams[:, 2].clamp(-1, 1)))
    return rotation_from_euler(torch.stack([rot, tilt, psi_deg], 1))
