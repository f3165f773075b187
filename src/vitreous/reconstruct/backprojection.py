"""Weighted back-projection of images with known poses.

Every centred image is multiplied by its CTF and inserted as a slice; ``CTF²`` is inserted beside it. The quotient is
the least-squares map (CryoFastAR eq. 5 with the interpolation kernel's adjoint in place of nearest-voxel insertion).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from vitreous.data import Optics
from vitreous.fourier.frequencies import Disc
from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.symmetry import PointGroup
from vitreous.physics.ctf import evaluate_ctf
from vitreous.physics.shifts import half_plane_phases
from vitreous.physics.slices import SliceAccumulator, map_from_grid
from vitreous.typing import Complex, Float, Images, Int, Rotations

_BATCH_VALUES = 4_000_000


def batches(n: int, box: int) -> Iterator[Int[Tensor, " b"]]:
    """Consecutive index batches whose images take about 16 MB."""
    size = max(1, _BATCH_VALUES // (box * box))
    return (torch.arange(start, min(start + size, n)) for start in range(0, n, size))


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


def shell_of_grid(grid_size: int, padding: int) -> Int[Tensor, "g g h"]:
    """Unpadded shell of every voxel of a padded half-space grid."""
    k = torch.arange(grid_size) - grid_size // 2
    kx = torch.arange(grid_size // 2 + 1)
    radius = torch.sqrt((k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx**2).float()) / padding
    return torch.floor(radius + 0.5).long()


def shell_average(values: Float[Tensor, "g g h"], shell: Int[Tensor, "g g h"], n_shells: int) -> Float[Tensor, " s"]:
    """Mean of a padded grid's values in each shell ``0 … n_shells − 1``."""
    flat = shell.reshape(-1).clamp_max(n_shells)
    sums = torch.zeros(n_shells + 1, dtype=torch.float64).index_add_(0, flat, values.reshape(-1).double())
    return (sums / torch.bincount(flat, minlength=n_shells + 1).clamp_min(1))[:n_shells]


def solve(
    accumulator: SliceAccumulator, *, prior: Float[Tensor, " s"] | None = None, floor: float = 1e-3
) -> Float[Tensor, "z y x"]:
    """Map of ``numerator / (denominator + prior + floor · shell mean)``, zero beyond the last shell.

    The slices of the map have the units of the values that were inserted.

    Parameters
    ----------
    accumulator
        Sums of slices.
    prior
        Added to the denominator, shell by shell: noise power over signal power (Scheres 2012, eq. 8).
    floor
        Share of the shell's mean denominator that is added, which tames voxels that no slice came near.
    """
    numerator, denominator = accumulator.totals()
    box, n_shells = accumulator.box, accumulator.box // 2 + 1
    shell = shell_of_grid(denominator.shape[0], accumulator.padding)
    added = floor * shell_average(denominator, shell, n_shells)
    if prior is not None:
        added[: len(prior)] += prior[:n_shells]
    inside = shell < n_shells
    total = denominator + added.float()[shell.clamp_max(n_shells - 1)]
    values = torch.where(inside & (total > 0), numerator / total.clamp_min(1e-30), torch.zeros_like(numerator))
    return map_from_grid(values, box, accumulator.padding)


def shell_weights(accumulator: SliceAccumulator) -> Float[Tensor, " s"]:
    """Mean denominator of each shell: how many images, weighted by CTF², reach a voxel of the padded grid."""
    _, denominator = accumulator.totals()
    return shell_average(
        denominator, shell_of_grid(denominator.shape[0], accumulator.padding), accumulator.box // 2 + 1
    )
