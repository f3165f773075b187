"""Fourier shell correlation of two half-maps in cones about many directions.

Coefficients are summed over the cells of a sphere, shell by shell; a cone is then a sum over cells, and all cones are
one matrix product.
"""

import math

import torch
from scipy.spatial import ConvexHull

from vitreous.fourier.transform import rfft3_centred
from vitreous.geometry.grids import fibonacci_directions
from vitreous.geometry.sphere_bins import SphereBins
from vitreous.typing import Complex, Float, Int, Map, Tensor

HALF_ANGLE_DEG = 20.0
"""Half-angle of the cones (Tan et al. 2017, doi:10.1038/nmeth.4347)."""

CONES = 200
"""Cones over a hemisphere; the other one holds their Friedel mates."""

_RINGS = 60
_FEWEST_COEFFICIENTS = 20


def cone_axes(n: int = CONES) -> Float[Tensor, "n 3"]:
    """Unit vectors spread evenly over the hemisphere z > 0."""
    return fibonacci_directions(2 * n)[:n]


def conical_fsc(
    first: Map, second: Map, axes: Float[Tensor, "cones 3"], half_angle_deg: float = HALF_ANGLE_DEG
) -> Float[Tensor, "cones shells"]:
    """FSC of two maps over the coefficients within ``half_angle_deg`` of each axis or of its opposite.

    Where a cone holds fewer than 20 coefficients of a shell, as in the first shells, all of the shell is taken.

    Parameters
    ----------
    first, second
        Maps of the same cubic box.
    axes
        Unit vectors ``(x, y, z)``.
    half_angle_deg
        Half-angle of the cones; 90° is the plain FSC.
    """
    box, bins = first.shape[-1], SphereBins.build(_RINGS)
    sums = _cell_sums(rfft3_centred(first), rfft3_centred(second), box, bins)
    cosines = (axes.double() @ torch.from_numpy(bins.centres()).T).abs()
    inside = (cosines >= math.cos(math.radians(half_angle_deg)) - 1e-12).double()
    in_cones = torch.einsum("mc,qsc->qms", inside, sums)
    in_shells = sums.sum(-1)[:, None].expand_as(in_cones)
    cross, power_1, power_2, _ = torch.where(in_cones[3] >= _FEWEST_COEFFICIENTS, in_cones, in_shells)
    power = power_1 * power_2
    return torch.where(power > 0, cross / power.clamp_min(1e-300).sqrt(), torch.zeros_like(cross))


def _cell_sums(
    first: Complex[Tensor, "z y half_x"], second: Complex[Tensor, "z y half_x"], box: int, bins: SphereBins
) -> Float[Tensor, "4 shells cells"]:
    """Cross term, both powers and number of coefficients of every cell, Friedel mates counted where they are stored."""
    cells, n_shells = len(bins), box // 2 + 1
    k = torch.fft.fftfreq(box, 1 / box)
    kx = torch.arange(n_shells, dtype=k.dtype)
    mates = torch.where((kx == 0) | (2 * kx == box), 1.0, 2.0).double().expand(box, -1)
    out = torch.zeros(4, n_shells * cells, dtype=torch.float64)
    for a, b, kz in zip(first, second, k):
        vectors = torch.stack(torch.broadcast_tensors(kx, k[:, None], kz), -1)
        radius = vectors.norm(dim=-1)
        shell = torch.floor(radius + 0.5).long()
        inside = shell < n_shells
        unit = vectors[inside] / radius[inside, None].clamp_min(1)
        place = shell[inside] * cells + torch.from_numpy(bins.index(unit.double().numpy()))
        terms = (a * b.conj()).real, a.abs().square(), b.abs().square(), torch.ones_like(radius)
        for total, term in zip(out, terms):
            total.index_add_(0, place, (term.double() * mates)[inside])
    return out.reshape(4, n_shells, cells)


def sphericity(axes: Float[Tensor, "n 3"], radii: Float[Tensor, " n"]) -> float:
    """Sphericity ``(36π·V²)^⅓ / A`` of the body with ``radii`` along axes and their opposites, 1 for a sphere.

    With the frequency at which each conical FSC crosses the threshold, this is the sphericity of the thresholded 3D FSC
    (Tan et al. 2017, there at 0.5). The body is a polyhedron over the axes; it is compared with the one whose
    radii are all equal, so that the number of axes has no say.
    """
    directions = torch.cat([axes, -axes]).double()
    corners = torch.from_numpy(ConvexHull(directions.numpy()).simplices).long()
    reach = torch.cat([radii, radii]).double()[:, None]
    return _roundness(directions * reach, corners) / _roundness(directions, corners)


def _roundness(vertices: Float[Tensor, "v 3"], corners: Int[Tensor, "faces 3"]) -> float:
    a, b, c = vertices[corners].unbind(1)
    volume = torch.linalg.vecdot(a, torch.linalg.cross(b, c)).abs().sum() / 6
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2
    return float((36 * math.pi * volume**2) ** (1 / 3) / area)
