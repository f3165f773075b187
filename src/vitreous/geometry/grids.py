"""Grids on the sphere (HEALPix) and on SO(3), whole, restricted to an asymmetric unit, or local."""

import math

import torch
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.geometry.rotations import rotation_from_euler, rotation_from_vector
from vitreous.geometry.symmetry import PointGroup
from vitreous.typing import Bool, Float, Int, Rotations

_GENERIC_DIRECTION = (0.83, 0.21, 0.52)
"""A direction on no symmetry axis: the asymmetric unit is the set of directions nearest to it among its mates."""


def healpix_directions(nside: int) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
    """Centres ``(theta, phi)`` in radians of the ``12·nside²`` equal-area pixels, in ring order.

    Polar caps: ``z = 1 − i²/(3·nside²)`` on ring i of 4i pixels; equatorial belt: ``z = (4 − 2i/nside)/3``
    (Górski et al. 2005, doi:10.1086/427976, equations 2–9). Any ``nside ≥ 1`` will do.
    """
    _require(nside >= 1, "nside is below 1", nside)
    ring = torch.arange(1, 4 * nside, dtype=torch.float64)
    from_pole = torch.minimum(ring, 4 * nside - ring)
    belt = from_pole >= nside
    cap_z = (1 - from_pole**2 / (3 * nside**2)) * torch.sign(2 * nside - ring)
    z = torch.where(belt, (4 - 2 * ring / nside) / 3, cap_z)
    count = 4 * from_pole.clamp_max(nside).long()
    staggered = ~belt | ((ring - nside) % 2 == 0)
    first = torch.where(staggered, 0.5, 0.0).double()
    start = torch.cumsum(count, 0) - count
    in_ring = torch.arange(12 * nside**2) - start.repeat_interleave(count)
    step = (2 * math.pi / count.double()).repeat_interleave(count)
    return torch.acos(z).repeat_interleave(count), (in_ring + first.repeat_interleave(count)) * step


def fibonacci_directions(n: int) -> Float[Tensor, "n 3"]:
    """Unit vectors spread evenly over the sphere along a golden-angle spiral (González 2010); any number of them."""
    index = torch.arange(n, dtype=torch.float64)
    z = 1 - (2 * index + 1) / max(n, 1)
    return _unit_vectors(torch.acos(z), index * math.pi * (3 - math.sqrt(5))).float()


def so3_grid(nside: int, n_inplane: int, asymmetric_unit_of: PointGroup | None = None) -> Rotations:
    """Rotations spread uniformly over SO(3): HEALPix viewing directions times in-plane angles.

    Parameters
    ----------
    nside
        HEALPix parameter: ``12·nside²`` directions, about ``58.6° / nside`` apart.
    n_inplane
        Equally spaced in-plane angles per direction, the first at 0.
    asymmetric_unit_of
        A point group ``[g, 3, 3]``: only one of every g equivalent viewing directions is kept (all of those on a
        boundary, so that the unit stays covered).

    Returns
    -------
    Rotations ``[directions · n_inplane, 3, 3]``, float32; the in-plane angle runs fastest.

    Raises
    ------
    ConfigError
        If ``nside`` or ``n_inplane`` is below 1.
    """
    _require(n_inplane >= 1, "the number of in-plane angles is below 1", n_inplane)
    tilt, rot = healpix_directions(nside)
    if asymmetric_unit_of is not None:
        inside = in_asymmetric_unit(_unit_vectors(tilt, rot), asymmetric_unit_of)
        tilt, rot = tilt[inside], rot[inside]
    psi = torch.arange(n_inplane, dtype=torch.float64) * (2 * math.pi / n_inplane)
    n = len(tilt)
    angles = torch.stack([rot.repeat_interleave(n_inplane), tilt.repeat_interleave(n_inplane), psi.repeat(n)], -1)
    return rotation_from_euler(torch.rad2deg(angles)).float()


def so3_grid_for_spacing(spacing_deg: float, asymmetric_unit_of: PointGroup | None = None) -> Rotations:
    """:func:`so3_grid` whose directions and in-plane angles lie at most about ``spacing_deg`` apart."""
    _require(0 < spacing_deg <= 180, "the spacing of a grid of rotations is not in (0, 180] degrees", spacing_deg)
    nside = math.ceil(math.degrees(math.sqrt(math.pi / 3)) / spacing_deg)
    return so3_grid(nside, math.ceil(360 / spacing_deg), asymmetric_unit_of)


def local_so3_grid(spacing_deg: float, extent_deg: float) -> Rotations:
    """Rotations ``[m, 3, 3]`` around the identity: a cubic lattice of rotation vectors within a ball.

    Parameters
    ----------
    spacing_deg
        Distance of neighbours.
    extent_deg
        Largest angle to the identity.

    Returns
    -------
    float32 rotations, the identity first, ordered by angle. ``R @ local`` turns the particle, ``local @ R`` the view.
    """
    _require(spacing_deg > 0, "the spacing of a grid of rotations is not positive", spacing_deg)
    _require(0 <= extent_deg <= 180, "the extent of a local grid is not in [0, 180] degrees", extent_deg)
    steps = int(extent_deg / spacing_deg + 1e-6)
    axis = torch.arange(-steps, steps + 1, dtype=torch.float64) * spacing_deg
    vectors = torch.cartesian_prod(axis, axis, axis)
    angle = vectors.norm(dim=-1)
    order = torch.argsort(angle, stable=True)
    kept = vectors[order][angle[order] <= extent_deg * (1 + 1e-6)]
    return rotation_from_vector(torch.deg2rad(kept)).float()


def rotations_around(
    rotations: Rotations, spacing_deg: float, extent_deg: float
) -> tuple[Float[Tensor, "m 3 3"], Int[Tensor, " m"]]:
    """Refine every rotation by a local grid: the new rotations, and the index of the one that each came from."""
    local = local_so3_grid(spacing_deg, extent_deg).to(rotations)
    finer = rotations[:, None] @ local[None]
    parents = torch.arange(len(rotations), device=rotations.device).repeat_interleave(len(local))
    return finer.reshape(-1, 3, 3), parents


def in_asymmetric_unit(directions: Float[Tensor, "n 3"], group: PointGroup) -> Bool[Tensor, " n"]:
    """Tell which viewing directions (unit vectors in the particle's frame) lie in the asymmetric unit of a group.

    The unit is the Dirichlet cell of one generic direction: convex, its mates tile the sphere.
    """
    mates = group.double() @ torch.tensor(_GENERIC_DIRECTION, dtype=torch.float64, device=group.device)
    nearness = directions.double() @ mates.T
    own = directions.double() @ mates.new_tensor(_GENERIC_DIRECTION)
    return own >= nearness.amax(-1) - 1e-9


def viewing_directions(rotations: Rotations) -> Float[Tensor, "n 3"]:
    """Direction of the beam in the particle's frame, ``Rᵀ ẑ``."""
    return rotations[:, 2, :].clone()


def _unit_vectors(theta: Tensor, phi: Tensor) -> Tensor:
    return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)


def _require(holds: bool, what: str, found: object) -> None:  # noqa: FBT001
    if not holds:
        raise ConfigError(what, found=found, remedy="Give a value in range")
