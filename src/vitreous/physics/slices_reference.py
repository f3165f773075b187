"""The Fourier-slice projector and its adjoint in plain torch: the twin of the native kernels, and the CUDA path."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vitreous.typing import Complex, Float, Int, Rotations

Corner = tuple[Int[Tensor, "n k"], Float[Tensor, "n k"], Float[Tensor, "n k"]]


def _corners(grid_size: int, rotations: Rotations, k: tuple[Tensor, Tensor], padding: float) -> Iterator[Corner]:
    """Yield flat index, weight and sign of the flip for the eight neighbours of every slice coordinate."""
    for index, (x, y, z), _, sign in neighbours(grid_size, rotations, k, padding):
        yield index, x * y * z, sign


def neighbours(
    grid_size: int, rotations: Rotations, k: tuple[Tensor, Tensor], padding: float
) -> Iterator[tuple[Int[Tensor, "n k"], list[Float[Tensor, "n k"]], tuple[int, ...], Float[Tensor, "n k"]]]:
    """The eight neighbours of every slice coordinate.

    Yields
    ------
    tuple
        Flat index; weights along x, y and z, of which the product counts; their slopes, each 1 or −1; sign of the flip.
    """
    kx, ky = (axis.to(rotations)[:, None] for axis in k)
    position = padding * (kx * rotations[:, None, 0] + ky * rotations[:, None, 1])
    sign = 1 - 2 * (position[..., 0] < 0).to(rotations.dtype)
    position = position * sign[..., None]
    base = position.detach().floor()
    fraction = position - base
    centre, half = grid_size // 2, grid_size // 2 + 1
    x, y, z = base.long().unbind(-1)
    origin = ((z + centre) * grid_size + y + centre) * half + x
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                steps = (dx, dy, dz)
                parts = [fraction[..., axis] if step else 1 - fraction[..., axis] for axis, step in enumerate(steps)]
                slopes = tuple(2 * step - 1 for step in steps)
                yield origin + (dz * grid_size + dy) * half + dx, parts, slopes, sign


def slice_plain(
    grid: Complex[Tensor, "g g h"], rotations: Rotations, k: tuple[Tensor, Tensor], padding: float
) -> Complex[Tensor, "n k"]:
    """Sample the padded grid at ``Rᵀ(kx, ky, 0)`` by trilinear interpolation; differentiable in grid and rotations."""
    flat = torch.view_as_real(grid).reshape(-1, 2)
    real = imag = torch.zeros((), device=grid.device)
    for index, weight, sign in _corners(grid.shape[0], rotations, k, padding):
        values = flat[index]
        real = real + weight * values[..., 0]
        imag = imag + weight * sign * values[..., 1]
    return torch.complex(real, imag)


def basis_slice_plain(
    grids: Float[Tensor, "g g h maps 2"],
    coefficients: Float[Tensor, "n maps"],
    rotations: Rotations,
    k: tuple[Tensor, Tensor],
    padding: float,
) -> Complex[Tensor, "n k"]:
    """Slices of ``Σ_m coefficients[n, m]·grids[…, m]``; differentiable in all."""
    flat = grids.reshape(-1, *grids.shape[-2:])
    real = imag = torch.zeros((), device=grids.device)
    for index, weight, sign in _corners(grids.shape[0], rotations, k, padding):
        values = torch.einsum("nkmc,nm->nkc", flat[index], coefficients)
        real = real + weight * values[..., 0]
        imag = imag + weight * sign * values[..., 1]
    return torch.complex(real, imag)


def insert_plain(
    accumulator: Float[Tensor, "g g h 3"],
    rotations: Rotations,
    k: tuple[Tensor, Tensor],
    padding: float,
    samples: tuple[Complex[Tensor, "n k"], Float[Tensor, "n k"]],
) -> None:
    """Add values and weights of slices to ``accumulator`` (in place): the adjoint of :func:`slice_plain`."""
    values, weights = samples
    flat = accumulator.view(-1, 3)
    for index, weight, sign in _corners(accumulator.shape[0], rotations, k, padding):
        parts = torch.stack([values.real, sign * values.imag, weights.to(values.real)], -1) * weight[..., None]
        flat.index_add_(0, index.reshape(-1), parts.reshape(-1, 3).to(flat))


def linear_insert_plain(
    kept: tuple[Float[Tensor, "voxels sums"], Int[Tensor, "g g h"]],
    rotations: Rotations,
    k: tuple[Tensor, Tensor],
    padding: float,
    images: tuple[Float[Tensor, "n k 3"], Float[Tensor, "n maps"], Float[Tensor, "n pairs"]],
) -> None:
    """Add every sample, multiplied by the moments of its image, to the sums of its neighbours (in place)."""
    sums, rows = kept
    samples, first, second = images
    for index, weight, sign in _corners(rows.shape[0], rotations, k, padding):
        real, imag, power = (weight * part for part in samples.unbind(-1))
        parts = [real[..., None] * first[:, None], (sign * imag)[..., None] * first[:, None]]
        parts.append(power[..., None] * second[:, None])
        sums.index_add_(0, rows.reshape(-1)[index].reshape(-1).long(), torch.cat(parts, -1).flatten(0, 1).to(sums))
