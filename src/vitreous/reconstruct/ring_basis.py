"""Ring harmonics of slices: how coefficients on the pixels of a disc follow from those on rings.

A slice is written ``P(r, θ) = Σ_m p_m(r)·e^{imθ}``. Where the particle fits the box, the radial parts are band-limited:
their values on a few rings give them everywhere. For a particle that is white inside a circle of radius a, the
covariance of ``p_m(r)`` and ``p_m(r')`` is ``∫₀ᵃ J_m(2πrs/n)·J_m(2πr's/n)·s ds``, and the interpolation of least error
is ``C(r, ρ)·C(ρ, ρ)⁻¹``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vitreous.fourier.frequencies import disc
from vitreous.typing import Float, Int

OVERSAMPLING = 1.1
"""Rings per period of the fastest radial part of a particle as wide as the box."""

BEYOND_PX = 0.6
"""Rings go on beyond the disc by at least so much: interpolation needs neighbours on both sides."""

ORDER_MARGIN = 3.0
"""Harmonics of a ring above its band limit ``2πρa/n`` that are kept."""

RIDGE = 1e-6
QUADRATURE = 48


@dataclass(frozen=True)
class RingBasis:
    """Harmonics on rings, grouped by what in-plane angles can tell apart.

    With J angles, the harmonics m and J − m of two rings turn alike; they form group ``min(m mod J, J − m mod J)``.
    Sums over the half disc keep even harmonics of real parts and odd harmonics of imaginary parts.

    Attributes
    ----------
    radii
        Of the rings, in pixels of frequency.
    angles
        Number of angles, of a whole turn, at which slices are sampled; even.
    groups
        Each group's rings, harmonics, and 1 or −1 where the harmonic or its conjugate belongs to it, ``[3, h]``.
    transforms
        Each group's matrix from the real (even group) or imaginary (odd group) parts of an image on the disc to real
        and imaginary parts of its harmonics, ``[k, 2h]``: the adjoint of the interpolation.
    """

    radii: Float[Tensor, " rings"]
    angles: int
    groups: tuple[Int[Tensor, "3 _"], ...]
    transforms: tuple[Float[Tensor, "k _"], ...]


@lru_cache(maxsize=64)
def ring_basis(box: int, count: int, inplane: int) -> RingBasis:
    """Rings for the first ``count`` coefficients of a disc of ``box`` and an even number of in-plane angles (cached).

    Raises
    ------
    ValueError
        If the number of in-plane angles is odd.
    """
    if inplane % 2:
        message = f"rings need an even number of in-plane angles, found {inplane}"
        raise ValueError(message)
    pixels = disc(box, box / 2)
    radius, kx, ky = (getattr(pixels, name)[:count].double() for name in ("radius", "kx", "ky"))
    step = 1 / OVERSAMPLING
    last = min(math.ceil((float(radius[-1]) + BEYOND_PX) / step), math.ceil(box / 2 / step) - 1)
    radii = step * torch.arange(last + 1, dtype=torch.float64)
    orders = torch.floor(math.pi * radii + ORDER_MARGIN).long()
    orders[0] = 0
    angles = 2 * (int(orders.max()) + 2)
    weights = _interpolation(radius, radii, orders, box)
    theta = torch.atan2(ky, kx)
    groups, transforms = [], []
    for group in range(inplane // 2 + 1):
        members = _members(orders, inplane, group)
        if members.shape[1]:
            groups.append(members)
            transforms.append(_transform(members, weights, theta))
    return RingBasis(radii.float(), angles, tuple(groups), tuple(transforms))


def _members(orders: Int[Tensor, " rings"], inplane: int, group: int) -> Int[Tensor, "3 h"]:
    """Rings, harmonics and signs of a group."""
    rows = []
    for ring, highest in enumerate(orders.tolist()):
        for m in range(highest + 1):
            folded = m % inplane
            if min(folded, inplane - folded) == group:
                rows.append((ring, m, 1 if folded == group else -1))
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).T.contiguous()


def _transform(
    members: Int[Tensor, "3 h"], weights: Float[Tensor, "m k rings"], theta: Float[Tensor, " k"]
) -> Float[Tensor, "k h2"]:
    """``d = c·Σ_k W·e^{−imθ}·Re D`` of even harmonics, ``i·c·Σ_k W·e^{−imθ}·Im D`` of odd ones; c is 2, 1 for m = 0."""
    ring, m, sign = members
    w = weights[m, :, ring].T * torch.where(m == 0, 1.0, 2.0)
    cos, sin = w * torch.cos(m * theta[:, None]), w * torch.sin(m * theta[:, None])
    even = m % 2 == 0
    real, imaginary = torch.where(even, cos, sin), torch.where(even, -sin, cos)
    return torch.cat([real, sign * imaginary], 1).float().contiguous()


def _interpolation(
    radius: Float[Tensor, " k"], radii: Float[Tensor, " rings"], orders: Int[Tensor, " rings"], box: int
) -> Float[Tensor, "m k rings"]:
    """Weights of least error from rings to pixels, harmonic by harmonic; zero for rings that have none of an order."""
    highest = int(orders.max())
    distinct, inverse = torch.unique(radius, return_inverse=True)
    on_pixels, on_rings = (_radial_parts(values, highest, box) for values in (distinct, radii))
    out = torch.zeros(highest + 1, len(distinct), len(radii), dtype=torch.float64)
    for m in range(highest + 1):
        used = torch.nonzero(orders >= m)[:, 0]
        known = on_rings[m, used]
        covariance = known @ known.T
        covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(used), dtype=torch.float64)
        out[m][:, used] = torch.linalg.solve(covariance, known @ on_pixels[m].T).T
    return out[:, inverse]


def _radial_parts(radius: Float[Tensor, " k"], highest: int, box: int) -> Float[Tensor, "m k s"]:
    """``J_m(2πrs/n)·√s`` at midpoints of the particle's radius, for all orders at once (Jacobi–Anger)."""
    s = (torch.arange(QUADRATURE, dtype=torch.float64) + 0.5) / QUADRATURE * box / 2
    x = 2 * math.pi / box * radius[:, None] * s
    samples = 4 * (highest + 16)
    turn = 2 * math.pi / samples * torch.arange(samples, dtype=torch.float64)
    bessel = torch.fft.fft(torch.exp(1j * x[..., None] * turn.sin())).real[..., : highest + 1] / samples
    return (bessel * s.sqrt()[:, None]).permute(2, 0, 1).contiguous()
