"""Slices of maps that are combinations of a few maps, without making the combinations.

The maps are kept on one padded grid (:class:`vitreous.physics.slices.FourierVolume`), voxel by voxel, so that a sample
reads eight places for all of them.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitreous.constants import PADDING
from vitreous.physics import kernels
from vitreous.physics.slices import FourierVolume, require_finite
from vitreous.physics.slices_reference import basis_slice_plain
from vitreous.typing import Complex, Float, Rotations


class _BasisSlices(torch.autograd.Function):
    """Native slices with native gradients for grids and coefficients."""

    @staticmethod
    def forward(
        ctx: Any, grids: Tensor, coefficients: Tensor, rotations: Tensor, where: tuple[Tensor, Tensor, float]
    ) -> Tensor:
        """Sample the combination of each image."""
        require_finite(rotations)
        ctx.save_for_backward(grids, coefficients, rotations)
        ctx.where = where
        *k, padding = where
        out = torch.empty(len(rotations), len(k[0]), 2)
        kernels.basis_slice_kernel(*_arrays(grids, coefficients, rotations, *k), np.float32(padding), out.numpy())
        return torch.view_as_complex(out)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Insert the gradient into the grids, and contract it with what was sampled."""
        grids, coefficients, rotations = ctx.saved_tensors
        found = torch.zeros_like(grids), torch.zeros_like(coefficients)
        *k, padding = ctx.where
        arrays = _arrays(grids, coefficients, rotations, *k)
        (grad,) = _arrays(torch.view_as_real(upstream[0].resolve_conj()))
        kernels.basis_gradient_kernel(*arrays, np.float32(padding), grad, found[0].numpy(), found[1].numpy())
        return *found, None, None


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def basis_grids(maps: Float[Tensor, "maps z y x"]) -> Float[Tensor, "g g h maps 2"]:
    """Padded transforms of maps over the box, whose slices are unitary coefficients; differentiable."""
    return torch.stack([torch.view_as_real(FourierVolume.from_map(v).grid) for v in maps], -2) / maps.shape[-1]


def basis_slices(
    grids: Float[Tensor, "g g h maps 2"],
    coefficients: Float[Tensor, "n maps"],
    rotations: Rotations,
    k: tuple[Float[Tensor, " k"], Float[Tensor, " k"]],
    padding: int = PADDING,
) -> Complex[Tensor, "n k"]:
    """Slices of ``Σ_m coefficients[n, m]·grids[…, m]`` at ``Rᵀ(kx, ky, 0)``, ``k = (kx, ky)`` in pixels.

    Differentiable in grids and coefficients. Parts of a complex number are the last axis of ``grids``, so that an
    optimiser may hold them.
    """
    tensors = (grids, coefficients, rotations)
    if all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors):
        return _BasisSlices.apply(*tensors, (*k, float(padding)))  # type: ignore[no-untyped-call]
    return basis_slice_plain(grids, coefficients, rotations, (k[0].to(rotations), k[1].to(rotations)), float(padding))
