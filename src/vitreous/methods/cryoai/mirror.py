"""Whether a map is its own mirror image: the trap of losses that do not know the hand (section 3.5, supplement D)."""

import torch
from torch import Tensor

from vitreous.fourier.filters import apply_radial
from vitreous.fourier.resize import resize_map
from vitreous.geometry.grids import fibonacci_directions
from vitreous.typing import Float, Map

SUSPECT_CORRELATION = 0.9
"""Correlation of a map with its mirror image from which it is taken for symmetric."""

_LARGEST_BOX = 32
_FIRST_SHELL = 3
_DIRECTIONS, _FINALISTS = 800, 4
_FINER_DEG = (4.0, 2.0, 1.0)


def mirror_correlation(values: Map) -> tuple[float, Float[Tensor, " 3"]]:
    """Largest correlation of a map with its mirror image, over planes through its centre of mass, and the normal.

    The lowest three shells, of which any compact particle's look symmetric, are left out; so is what lies beyond a
    sphere, and beyond a box of 32 voxels over the same field.
    """
    box = min(_LARGEST_BOX, values.shape[-1]) // 2 * 2
    small = resize_map(values, box)
    shells = torch.arange(box // 2)
    detail = apply_radial(small, (shells >= _FIRST_SHELL).float())
    axis = (torch.arange(box) - box // 2) / (box / 2)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], -1)[x**2 + y**2 + z**2 < 1]
    centre = _centre_of_mass(small, points)
    normals = fibonacci_directions(2 * _DIRECTIONS)[:_DIRECTIONS]
    for spread_deg in (None, *_FINER_DEG):
        tried = normals if spread_deg is None else _around(normals, spread_deg)
        found = torch.stack([_correlation(detail, points, centre, normal) for normal in tried])
        normals = tried[found.argsort(descending=True)[:_FINALISTS]]
    return float(found.max()), normals[0]


def _centre_of_mass(values: Map, points: Tensor) -> Tensor:
    weights = _sampled(values, points).clamp_min(0).square()
    return (weights[:, None] * points).sum(0) / weights.sum().clamp_min(1e-30)


def _correlation(values: Map, points: Tensor, centre: Tensor, normal: Tensor) -> Tensor:
    height = (points - centre) @ normal
    here, there = _sampled(values, points), _sampled(values, points - 2 * height[:, None] * normal)
    return (here * there).sum() / (here.square().sum() * there.square().sum()).sqrt().clamp_min(1e-30)


def _sampled(values: Map, points: Tensor) -> Tensor:
    """Values at points that are 1 at half a box, 0 outside."""
    box = values.shape[-1]
    place = (points * (box / 2) + box // 2) * 2 / (box - 1) - 1
    return torch.nn.functional.grid_sample(values[None, None], place[None, None, None], align_corners=True).flatten()


def _around(normals: Tensor, spread_deg: float) -> Tensor:
    """Every normal with eight neighbours."""
    tangents = torch.linalg.svd(normals[:, None])[2][:, 1:]
    angles = torch.pi / 4 * torch.arange(8)
    steps = torch.deg2rad(torch.tensor(spread_deg)) * torch.stack([angles.cos(), angles.sin()], -1)
    moved = normals[:, None] + steps @ tangents
    return torch.nn.functional.normalize(torch.cat([normals[:, None], moved], 1).flatten(0, 1), dim=-1)
