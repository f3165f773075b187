"""Point groups in RELION's settings.

| name | axes |
|---|---|
| Cn | n-fold along z |
| Dn | n-fold along z, 2-fold along x |
| T | 3-fold along z, 2-fold in the yz plane |
| O | 4-fold along x, y and z |
| I, I2 | 2-fold along x, y and z, 5-fold along (1, 0, φ) with the golden ratio φ (Crowther 222) |
| I1 | 2-fold along x, y and z, 5-fold along (φ, 0, 1): I2 turned by 90° about z |
| I3 | 5-fold along z, 2-fold along (−1, 0, φ) |
| I4 | 5-fold along z, 2-fold along (1, 0, φ): I3 turned by 180° about z |
"""

import math
import re
from functools import lru_cache

import torch
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.geometry.rotations import rotation_from_vector
from vitreous.typing import Float, Rotations

_GOLDEN = (1 + math.sqrt(5)) / 2

PointGroup = Float[Tensor, "g 3 3"]
"""All rotations of a point group, float64, the identity first."""

Axis = tuple[int, tuple[float, float, float]]
"""Fold and direction of a symmetry axis."""


def point_group(name: str) -> PointGroup:
    """All rotations of a point group, ``[g, 3, 3]`` float64, the identity first.

    A map has the symmetry if turning it by each of them leaves it as it is; the poses ``R`` and ``R @ g`` then give
    the same image.

    Raises
    ------
    ConfigError
        If the name is not that of a point group of rotations.
    """
    return _cached_group(name.strip().upper()).clone()


def nearest_mates(estimates: Rotations, truths: Rotations, group: PointGroup) -> Rotations:
    """For each estimate the nearest of the equivalent poses ``truth @ g``."""
    relative = (truths.transpose(-1, -2) @ estimates).flatten(-2)
    best = (relative @ group.to(relative).flatten(-2).T).argmax(-1)
    return truths @ group.to(truths)[best]


@lru_cache(maxsize=32)
def _cached_group(name: str) -> Tensor:
    found = re.fullmatch(r"([CD])([1-9]\d?)|(T|O)|I([1-4]?)", name)
    if found is None:
        raise ConfigError(
            "this is not a point group that a map can have",
            found=repr(name),
            remedy="Use C1, C4, D2, T, O, I (or I1 to I4); mirror groups do not occur in chiral molecules",
        )
    family, fold, cubic, setting = found.groups()
    if family:
        axes: list[Axis] = [(int(fold), (0.0, 0.0, 1.0))] + ([(2, (1.0, 0.0, 0.0))] if family == "D" else [])
        return _closure(axes)
    return _closure(_cubic_axes(cubic or f"I{setting or 2}"))


def _cubic_axes(name: str) -> list[Axis]:
    """Generating axes in RELION's setting."""
    if name == "T":
        return [(3, (0.0, 0.0, 1.0)), (2, (0.0, math.sqrt(2), 1.0))]
    if name == "O":
        return [(4, (0.0, 0.0, 1.0)), (3, (1.0, 1.0, 1.0))]
    if name == "I1":
        return [(2, (0.0, 0.0, 1.0)), (5, (_GOLDEN, 0.0, 1.0)), (3, (1.0, 1.0, 1.0))]
    if name == "I2":
        return [(2, (0.0, 0.0, 1.0)), (5, (1.0, 0.0, _GOLDEN)), (3, (1.0, 1.0, 1.0))]
    return [(5, (0.0, 0.0, 1.0)), (2, (-1.0 if name == "I3" else 1.0, 0.0, _GOLDEN))]


def _closure(axes: list[Axis]) -> PointGroup:
    """Multiply generators until nothing new comes up."""
    generators = [
        rotation_from_vector(
            torch.tensor([direction], dtype=torch.float64) / math.hypot(*direction) * (2 * math.pi / fold)
        )[0]
        for fold, direction in axes
        if fold > 1
    ]
    elements = [torch.eye(3, dtype=torch.float64)]
    for element in elements:
        for generator in generators:
            product = element @ generator
            if not any(torch.allclose(product, known, atol=1e-6) for known in elements):
                elements.append(product)
    return torch.stack(elements)
