"""Fourier planar maps: a pose as the place of every Fourier coefficient of an image in a common frame.

CryoFastAR (arXiv:2506.05864) equations 6, 10, 12 and 13, derived for ``r_lab = R r_particle``: coefficient ``k`` of
view i is the particle's at ``R_iᵀ k``; in the frame of the reference view 1 that is ``X^i = R_1 R_iᵀ X⁰ + h(t_i)``,
with ``X⁰`` the coordinates ``(x, y, 0)`` and ``h(t) = (t_x, t_y, 0)`` a label for the shift, in units of the field.
"""

import math

import torch
from torch import Tensor

from vitreous.typing import Float


def pixel_coordinates(box: int) -> Float[Tensor, "pixels 3"]:
    """``X⁰`` of the pixel grid, row by row, spanning [−1, 1]²: the origin is at pixel ``box // 2``."""
    axis = 2.0 * (torch.arange(box) - box // 2) / box
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3)


def line_angles(lines: int) -> Float[Tensor, " lines"]:
    """Angles of radial lines (rays) evenly spaced over the full circle, from 0, in radians."""
    return 2 * math.pi * torch.arange(lines) / lines


def line_directions(angles_rad: Float[Tensor, " lines"]) -> Float[Tensor, "lines 3"]:
    """``X⁰`` of radial lines at radius 1: ``(cos θ, sin θ, 0)``."""
    return torch.stack([angles_rad.cos(), angles_rad.sin(), torch.zeros_like(angles_rad)], -1)


def relative_rotations(rotations: Float[Tensor, "*b n 3 3"]) -> Float[Tensor, "*b n 3 3"]:
    """``R_1 R_iᵀ``: from the frame of each view to that of the first one."""
    return rotations[..., :1, :, :] @ rotations.mT


def planar_map(
    relative: Float[Tensor, "*b n 3 3"], shifts: Float[Tensor, "*b n 2"], coordinates: Float[Tensor, "p 3"]
) -> Float[Tensor, "*b n p 3"]:
    """Equation 10: ``X^i = (R_1 R_iᵀ) X⁰ + h(t_i)``, with shifts in units of the field (its side is 1)."""
    placed = coordinates.to(relative) @ relative.mT
    return placed + torch.nn.functional.pad(shifts, (0, 1))[..., None, :]


def mean_shift(maps: Float[Tensor, "*b n p 3"], confidences: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n 2"]:
    """Equation 12, normalised: the confidence-weighted mean of the map, for coordinates whose mean is zero."""
    weights = confidences / confidences.sum(-1, keepdim=True)
    return (weights[..., None] * maps).sum(-2)[..., :2]


def weighted_kabsch(
    targets: Float[Tensor, "*b p 3"], sources: Float[Tensor, "*b p 3"], weights: Float[Tensor, "*b p"]
) -> Float[Tensor, "*b 3 3"]:
    """Equation 13: rotation ``Q`` that minimises ``Σ w |target − Q source|²``, never a reflection (Kabsch 1976)."""
    moment = torch.einsum("...p,...pi,...pj->...ij", weights, targets, sources)
    return nearest_rotations(moment)


def nearest_rotations(matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rotations nearest to matrices in the Frobenius norm, determinant +1."""
    U, _, Vh = torch.linalg.svd(matrices)
    signs = torch.ones_like(matrices[..., 0])
    signs[..., 2] = torch.sign(torch.linalg.det(U @ Vh))
    return (U * signs[..., None, :]) @ Vh
