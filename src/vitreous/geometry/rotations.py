"""Rotations and their parametrisations.

A rotation ``R`` takes particle coordinates to microscope coordinates, ``r_lab = R @ r_particle``. RELION's angles
(rot, tilt, psi) give this R directly: ``R = Rz(−psi)·Ry(−tilt)·Rz(−rot)`` with active elementary rotations (RELION's
manual states them as rotations of the coordinate system).
"""

import torch
from torch import Tensor

from vitreous.typing import Float

MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
"""The mirror ``J``: z → −z. ``J R J`` are the rotations of the mirrored map."""


def rotation_from_euler(angles_deg: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotations from RELION's (rot, tilt, psi) in degrees."""
    rot, tilt, psi = torch.deg2rad(angles_deg).unbind(-1)
    ca, cb, cg = rot.cos(), tilt.cos(), psi.cos()
    sa, sb, sg = rot.sin(), tilt.sin(), psi.sin()
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def euler_from_rotation(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """RELION's (rot, tilt, psi) in degrees, tilt in [0, 180]; rot is 0 where tilt leaves it free."""
    R = rotations.double()
    sin_tilt = torch.hypot(R[:, 2, 0], R[:, 2, 1])
    tilt = torch.atan2(sin_tilt, R[:, 2, 2])
    polar = sin_tilt < 4 * torch.finfo(rotations.dtype).eps
    rot = torch.where(polar, torch.zeros_like(tilt), torch.atan2(R[:, 2, 1], R[:, 2, 0]))
    # psi from what is left after undoing rot: near the poles, where rot alone is uncertain, their sum stays exact.
    across = R[:, :2, 1] * rot.cos()[:, None] - R[:, :2, 0] * rot.sin()[:, None]
    psi = torch.atan2(across[:, 0], across[:, 1])
    return torch.rad2deg(torch.stack([rot, tilt, psi], -1)).to(rotations.dtype)


def rotation_from_vector(vectors_rad: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Exponential map: rotation by ``|v|`` radians about ``v`` (Rodrigues), smooth and differentiable at zero."""
    squared = vectors_rad.square().sum(-1)[:, None, None]
    small = squared < 1e-4  # there θ⁶/5040 < 1e-15: the series is exact
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6 + squared**2 / 120, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24 + squared**2 / 720, (1 - angle.cos()) / safe)
    x, y, z = vectors_rad.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    cross = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return torch.eye(3).to(vectors_rad) + sine * cross + cosine * (cross @ cross)


def vector_from_rotation(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """Logarithm: the rotation vector, in radians, with norm in [0, π]."""
    wxyz = quaternion_from_rotation(rotations)
    w, imaginary = wxyz[:, :1], wxyz[:, 1:]
    norm = imaginary.norm(dim=-1, keepdim=True)
    tiny = norm < 1e-12
    safe = torch.where(tiny, torch.ones_like(norm), norm)
    return imaginary * torch.where(tiny, torch.full_like(norm, 2.0), 2 * torch.atan2(safe, w) / safe)


def rotation_from_quaternion(quaternions_wxyz: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotations from quaternions ``(w, x, y, z)`` of any non-zero norm."""
    w, x, y, z = (quaternions_wxyz / quaternions_wxyz.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def rotation_from_axes(first: Float[Tensor, "n 3"], second: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotations whose first row points along ``first`` and whose second lies in the plane of both (Gram-Schmidt).

    Continuous in the six numbers wherever the vectors are not parallel (Zhou et al. 2019, arXiv:1812.07035).
    """
    x = torch.nn.functional.normalize(first, dim=-1)
    y = torch.nn.functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -2)


def quaternion_from_rotation(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 4"]:
    """Unit quaternions ``(w, x, y, z)`` with ``w ≥ 0``.

    The rows of ``4·q qᵀ`` are known from the matrix; the row of the largest component is well conditioned everywhere
    (Shepperd 1978).
    """
    r = rotations.flatten(-2)
    xx, xy, xz, yx, yy, yz, zx, zy, zz = r.unbind(-1)
    outer = [
        [1 + xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz],
    ]
    candidates = torch.stack([torch.stack(row, -1) for row in outer], -2)
    largest = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = candidates[torch.arange(len(r), device=r.device), largest]
    unit = row / row.norm(dim=-1, keepdim=True)
    return torch.where(unit[:, :1] < 0, -unit, unit)


def random_rotations(n: int, generator: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Rotations drawn uniformly from SO(3) (normalised Gaussian quaternions)."""
    return rotation_from_quaternion(torch.randn(n, 4, generator=generator, device=generator.device))


def rotation_angle_deg(first: Float[Tensor, "n 3 3"], second: Float[Tensor, "n 3 3"]) -> Float[Tensor, " n"]:
    """Angle in degrees between two sets of rotations, accurate near 0 and near 180."""
    chord = (first - second).double().flatten(-2).norm(dim=-1)
    return torch.rad2deg(2 * torch.asin((chord / 8**0.5).clamp(0, 1))).to(first.dtype)


def mirror_rotations(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3 3"]:
    """``J R J``: the rotations under which the mirrored map gives the same images."""
    J = MIRROR.to(rotations)
    return J @ rotations @ J
