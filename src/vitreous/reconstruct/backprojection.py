"""Weighted back-projection of images with known poses.

Every centred image is multiplied by its CTF and inserted as a slice; ``CTF²`` is inserted beside it. The quotient is
the least-squares map (CryoFastAR eq. 5 with the interpolation kernel's adjoint in place of nearest-voxel insertion).
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vitreous.data import Optics
from vitreous.fourier.frequencies import Disc
from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.symmetry import PointGroup
from vitreous.physics.ctf import evaluate_ctf
from vitreous.physics.shifts import half_plane_phases
from vitreous.physics.slices import SliceAccumulator, map_from_grid, map_from_transform
from vitreous.reconstruct import solve_kernels
from vitreous.typing import Complex, Float, Images, Int, Rotations

_BATCH_VALUES = 4_000_000
_SINGLE = (torch.complex64, torch.float32)


def batches(n: int, box: int) -> Iterator[Int[Tensor, " b"]]:
    """Consecutive index batches whose images take about 16 MB."""
    size = max(1, _BATCH_VALUES // (box * box))
    return (torch.arange(start, min(start + size, n)) for start in range(0, n, size))


def working_box(radius: float) -> int:
    """Even box, in voxels, of a map that holds frequencies up to ``radius``."""
    return 2 * (math.ceil(radius) + 2)


def centred_coefficients(images: Images, shifts_px: Float[Tensor, "n 2"], disc: Disc) -> Complex[Tensor, "n k"]:
    """Unitary transforms of images with their particles moved to the box centre, on a disc."""
    box = images.shape[-1]
    transforms = rfft2_centred(images) * half_plane_phases(-shifts_px, box)
    return disc.gather(transforms) / box


def disc_ctf(optics: Optics, disc: Disc, pixel_size_A: float) -> Float[Tensor, "n k"]:
    """CTF of every particle on a disc."""
    scale = 1 / (disc.box * pixel_size_A)
    return evaluate_ctf(optics, disc.kx.double() * scale, disc.ky.double() * scale)


def symmetry_copies(rotations: Rotations, group: PointGroup) -> Iterator[Rotations]:
    """The equivalent rotations ``R S`` of a particle with point group S."""
    return (rotations @ operation.to(rotations) for operation in group)


def shell_of_grid(grid_size: int, padding: int, device: torch.device | str = "cpu") -> Int[Tensor, "g g h"]:
    """Unpadded shell of every voxel of a padded half-space grid."""
    k = torch.arange(grid_size, device=device) - grid_size // 2
    kx = torch.arange(grid_size // 2 + 1, device=device)
    radius = torch.sqrt((k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx**2).float()) / padding
    return torch.floor(radius + 0.5).long()


def solve(
    accumulator: SliceAccumulator, *, prior: Float[Tensor, " s"] | None = None, floor: float = 1e-3
) -> Float[Tensor, "z y x"]:
    """Map of ``numerator / (denominator + prior + floor · shell mean)``, zero beyond the last shell.

    The slices of the map have the units of the values that were inserted. It comes in the CPU's memory.

    Parameters
    ----------
    accumulator
        Sums of slices.
    prior
        Added to the denominator, shell by shell: noise power over signal power (Scheres 2012, eq. 8).
    floor
        Share of the shell's mean denominator that is added, which tames voxels that no slice came near.
    """
    added = floor * shell_weights(accumulator)
    if prior is not None:
        added[: len(prior)] += prior[: len(added)]
    if accumulator.native_sums is None:
        return map_from_grid(quotient_plain(accumulator, added), accumulator.box, accumulator.padding).cpu()
    n = accumulator.padding * accumulator.box
    out = torch.empty(n, n, n // 2 + 1, 2)
    solve_kernels.quotient_kernel(
        accumulator.native_sums.numpy(), added.float().numpy(), np.float32(accumulator.padding), out.numpy()
    )
    return map_from_transform(torch.view_as_complex(out), accumulator.box, accumulator.padding)


def quotient_plain(accumulator: SliceAccumulator, added: Float[Tensor, " s"]) -> Complex[Tensor, "g g h"]:
    """Return ``numerator / (denominator + added)``, zero beyond the last shell."""
    numerator, denominator = (values.to(dtype) for values, dtype in zip(accumulator.totals(), _SINGLE, strict=True))
    shell = shell_of_grid(denominator.shape[0], accumulator.padding, denominator.device)
    total = denominator + added.to(denominator)[shell.clamp_max(len(added) - 1)]
    known = (shell < len(added)) & (total > 0)
    return torch.where(known, numerator / total.clamp_min(1e-30), torch.zeros_like(numerator))


def shell_weights(accumulator: SliceAccumulator) -> Float[Tensor, " s"]:
    """Mean denominator of each shell: how many images, weighted by CTF², reach a voxel of the padded grid."""
    n_shells, sums = accumulator.box // 2 + 1, accumulator.native_sums
    if sums is None:
        return shell_weights_plain(accumulator)
    found = torch.zeros(2, sums.shape[1], n_shells + 1, dtype=torch.float64)
    solve_kernels.shell_weight_kernel(sums.numpy(), np.float32(accumulator.padding), found.numpy())
    totals, counts = found.sum(1)[:, :n_shells]
    return totals / counts.clamp_min(1)


def shell_weights_plain(accumulator: SliceAccumulator) -> Float[Tensor, " s"]:
    """Twin of :func:`shell_weights` in torch operations."""
    n_shells = accumulator.box // 2 + 1
    _, denominator = accumulator.totals()
    shell = shell_of_grid(denominator.shape[0], accumulator.padding, denominator.device)
    flat = shell.reshape(-1).clamp_max(n_shells)
    sums = torch.bincount(flat, denominator.reshape(-1).double(), n_shells + 1)
    return (sums / torch.bincount(flat, minlength=n_shells + 1).clamp_min(1))[:n_shells].cpu()
