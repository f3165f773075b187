"""Projections of point models, exactly, straight into Fourier space: the images that pre-training makes on the fly."""

import torch
from torch import Tensor

from vitreous.typing import Complex, Float


def project_beads(
    beads: Float[Tensor, "b k 3"],
    weights: Float[Tensor, "b k"],
    rotations: Float[Tensor, "b n 3 3"],
    shifts: Float[Tensor, "b n 2"],
    box: int,
) -> Complex[Tensor, "b n y half_x"]:
    """Half-plane transforms of the projections of weighted points, ``Σ w exp(−2πi k·((R r)_xy + t))``.

    Lengths are in units of the field (the side of the image); layout and scale are those of ``rfft2_centred``. The
    sum over points is one real matrix product per image, because ``exp(−2πi(kx x + ky y))`` is a product.
    """
    placed = torch.einsum("bnij,bkj->bnki", rotations[:, :, :2], beads) + shifts[:, :, None]
    half = box // 2
    waves = _powers(torch.polar(torch.ones_like(placed), -2 * torch.pi * placed), half + 1)
    parts = torch.view_as_real(waves).flatten(-2)  # [b, n, k, xy, (order, re/im)]
    x, y = parts[..., 0, :], parts[..., 1, :] * weights[:, None, :, None]
    moments = (y.mT @ x).unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))  # [b, n, ky, re/im, kx, re/im]
    cc, cs = moments[..., 0, :, 0], moments[..., 0, :, 1]
    sc, ss = moments[..., 1, :, 0], moments[..., 1, :, 1]
    upper, lower = torch.complex(cc - ss, cs + sc), torch.complex(cc + ss, cs - sc)
    return torch.cat([upper[..., : (box + 1) // 2, :], lower[..., 1 : half + 1, :].flip(-2)], -2)


def _powers(first: Tensor, n: int) -> Tensor:
    """Return powers 0 … n − 1 of ``first`` along a new last axis, by doubling."""
    powers = first[..., None]
    while powers.shape[-1] < n - 1:
        powers = torch.cat([powers, powers * powers[..., -1:]], -1)
    return torch.cat([torch.ones_like(first)[..., None], powers[..., : n - 1]], -1)
