"""Reconstruction with known poses: two half-maps, their FSC, and the map."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.device import compute_device
from vitreous.compute.processes import current_share
from vitreous.compute.progress import Progress
from vitreous.data import Particles, Poses, ResolutionCurves, Result, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.frequencies import disc
from vitreous.geometry.symmetry import point_group
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct.backprojection import (
    batches,
    centred_coefficients,
    disc_ctf,
    shell_weights,
    solve,
    symmetry_copies,
    working_box,
)
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.reconstruct.group_balance import GroupBalance
from vitreous.reconstruct.half_maps import half_map_curves, mask_warning, resolution_of, signal_to_noise
from vitreous.reconstruct.masks import auto_mask, sphere_mask
from vitreous.reconstruct.postprocess import sharpen
from vitreous.typing import Int, Map

_GRID_BUDGET_BYTES = 2_000_000_000
_SPHERE_EDGE_VOXELS = 3.0
_LARGEST_BFACTOR_A2 = 1e4
_MASK_TOLERANCE = 1e-3
"""By how much values of a mask may leave [0, 1]: resampling and 16-bit files round."""
_SMALLEST_MASK_SHARE = 1e-4
"""Mean of a mask below which it holds too few voxels for an FSC: 27 of a box of 64."""
_FEWEST_PER_HALF = 10
_MOST_UNEVEN = 4
"""Half-sets whose sizes differ by more make an FSC that the smaller one bounds."""


@dataclass(frozen=True)
class ReconstructConfig:
    """How maps are made from particles with known poses."""

    symmetry: str = "C1"
    """Point group: C1, C4, D2, T, O, I …; the poses must already have its axes in RELION's standard frame."""
    bfactor_A2: float | None = None
    """B-factor of the sharpening in Å² (negative sharpens, 0 switches it off); fitted by default."""
    seed: int = 0
    """Seed of the half-set split, where the particles have none, and of the phase randomisation."""

    def __post_init__(self) -> None:
        """Refuse a point group that does not exist, and numbers that cannot be used."""
        point_group(self.symmetry)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(
                "--seed is out of range", expected="0 to 2^63 - 1", found=self.seed, remedy="Change --seed"
            )
        if self.bfactor_A2 is not None and not abs(self.bfactor_A2) <= _LARGEST_BFACTOR_A2:  # so that NaN is refused
            raise ConfigError(
                "--bfactor is out of range",
                expected=f"{-_LARGEST_BFACTOR_A2:.0f} to {_LARGEST_BFACTOR_A2:.0f} Å²",
                found=self.bfactor_A2,
                remedy="Change --bfactor, or leave it out to have it fitted",
            )


def split_half_sets(particles: Particles, seed: int) -> Int[Tensor, " n"]:
    """Half-set of every particle: the given one, or a random split into equal halves."""
    if particles.half_sets is not None:
        return particles.half_sets
    order = torch.randperm(len(particles), generator=torch.Generator().manual_seed(seed))
    halves = torch.ones(len(particles), dtype=torch.int64)
    halves[order[len(particles) // 2 :]] = 2
    return halves


def grid_copies(box: int, threads: int, dtype: torch.dtype = torch.float32) -> int:
    """Private grids that two accumulators may have: one per thread, as far as they take less than 2 GB."""
    size = 3 * dtype.itemsize * (2 * box + 1) ** 2 * (box + 1)
    return max(1, min(threads, _GRID_BUDGET_BYTES // (2 * size)))


def back_project_halves(
    particles: Particles,
    poses: Poses,
    half_sets: Int[Tensor, " n"],
    symmetry: str,
    progress: Progress,
    *,
    radius: float | None = None,
    balance: GroupBalance | None = None,
) -> tuple[SliceAccumulator, SliceAccumulator]:
    """Insert every particle into the accumulator of its half-set; images are read once, in order, by one process.

    With a ``radius``, in Fourier pixels, only frequencies up to there are inserted, into grids that just hold them.
    With a ``balance``, every optics group counts by its own noise and amplitude.
    """
    coefficients = disc(particles.box, particles.box / 2 if radius is None else radius)
    k = (coefficients.kx, coefficients.ky)
    box = particles.box if radius is None else working_box(radius)
    copies = grid_copies(box, torch.get_num_threads())
    first, second = (SliceAccumulator(box, threads=copies, device=compute_device()) for _ in range(2))
    group = point_group(symmetry)
    dealt = current_share().mine(list(batches(len(particles), particles.box)))
    with progress.stage("Back-projecting", total=sum(map(len, dealt))):
        for indices in dealt:
            shifts_px = (poses.shifts_A[indices] / particles.pixel_size_A).float()
            values = centred_coefficients(particles.images(indices), shifts_px, coefficients)
            ctf = disc_ctf(particles.optics.select(indices), coefficients, particles.pixel_size_A)
            values = values if particles.ctf_premultiplied else values * ctf
            part = Coefficients(values, ctf * ctf)
            if balance is not None:
                part = part.scaled(balance.gains(coefficients.shell), particles.optics.group[indices])
            for number, accumulator in ((1, first), (2, second)):
                mine = half_sets[indices] == number
                held = Coefficients(part.yc[mine], part.c2[mine]).to(compute_device())
                for rotations in symmetry_copies(poses.rotations[indices][mine], group):
                    accumulator.add(rotations, k, held.yc, held.c2)
            progress.advance(len(indices))
    for accumulator in (first, second):
        accumulator.sum_over_processes()
    return first, second


def _inscribed_sphere(box: int) -> Map:
    """Mask of what every image saw, whatever its direction; the corners hold noise only (RELION cuts them too)."""
    return sphere_mask(box, box / 2, _SPHERE_EDGE_VOXELS)


def half_volumes(accumulators: tuple[SliceAccumulator, SliceAccumulator], voxel_size_A: float) -> tuple[Volume, Volume]:
    """Raw, unregularised half-maps inside the sphere that every projection holds."""
    first, second = (Volume(solve(a) * a.box * _inscribed_sphere(a.box), voxel_size_A) for a in accumulators)
    return first, second


def full_volume(
    accumulators: tuple[SliceAccumulator, SliceAccumulator], curves: ResolutionCurves, voxel_size_A: float
) -> Volume:
    """Wiener-regularised map of all particles: the prior is the mean weight over the SNR that the FSC implies."""
    both = accumulators[0].merged(accumulators[1])
    snr = signal_to_noise(curves.final)
    prior = torch.where(snr > 0, shell_weights(both) / snr.clamp_min(1e-6), torch.full_like(snr, 1e30))
    prior[0] = 0.0
    return Volume(solve(both, prior=prior) * both.box * _inscribed_sphere(both.box), voxel_size_A)


def reconstruct_halves(
    particles: Particles,
    config: ReconstructConfig,
    progress: Progress,
    mask: Volume | None = None,
    *,
    balance: GroupBalance | None = None,
) -> Result:
    """Reconstruct particles with known poses; with a ``balance``, every optics group counts by its own noise.

    Returns
    -------
    Result
        ``volume`` (Wiener-regularised, FSC-weighted, sharpened), raw ``half_maps``, ``mask``, ``curves``,
        ``resolution_A`` at FSC 0.143 of the corrected curve, and the ``half_sets`` and ``symmetry`` used.

    Raises
    ------
    InputError
        If the particles have no poses, or if a half-set is empty.
    ConfigError
        If the mask does not fit, see :func:`check_mask`.
    """
    if particles.poses is None:
        raise InputError(
            "the particles have no poses", remedy="Run `vitreous abinitio` first, or give a STAR file with angles"
        )
    if mask is not None:
        check_mask(mask, particles.box, particles.pixel_size_A)
    half_sets = split_half_sets(particles, config.seed)
    warnings = check_half_sets(half_sets)
    accumulators = back_project_halves(
        particles, particles.poses, half_sets, config.symmetry, progress, balance=balance
    )
    halves = half_volumes(accumulators, particles.pixel_size_A)
    made = assemble_result(accumulators, halves, config, mask, half_sets)
    return replace(made, warnings=(*warnings, *made.warnings))


def check_half_sets(half_sets: Int[Tensor, " n"]) -> tuple[str, ...]:
    """Return warnings about half-sets whose FSC says little.

    Raises
    ------
    InputError
        If one of them is empty.
    """
    sizes = [int((half_sets == number).sum()) for number in (1, 2)]
    found = f"{sizes[0]} and {sizes[1]} particles"
    if min(sizes) == 0:
        few = "Give at least two particles"
        wrong = "Remove rlnRandomSubset from the STAR file to have the halves drawn, or correct it"
        raise InputError("a half-set is empty", found=found, remedy=few if max(sizes) < 2 else wrong)
    if min(sizes) < _FEWEST_PER_HALF or max(sizes) > _MOST_UNEVEN * min(sizes):
        return (f"the half-sets have {found}: the FSC and the resolution say little",)
    return ()


def check_mask(mask: Volume, box: int, pixel_size_A: float) -> None:
    """Refuse a mask that does not fit the particles or is none; commands ask before they compute anything.

    Raises
    ------
    ConfigError
        If the box or the voxel size (by more than 1 %) differ, values are outside [0, 1], or nearly all of it is 0.
    """
    values = mask.values
    if mask.box != box or not math.isclose(mask.voxel_size_A, pixel_size_A, rel_tol=0.01):
        what = "box" if mask.box != box else "pixel size"
        raise ConfigError(
            f"--mask has another {what} than the particles",
            expected=f"{box} px of {pixel_size_A:.4g} Å",
            found=f"{mask.box} px of {mask.voxel_size_A:.4g} Å",
            remedy="Resample the mask to the particles' box and pixel size",
        )
    lowest, highest = float(values.min()), float(values.max())
    if not -_MASK_TOLERANCE <= lowest <= highest <= 1 + _MASK_TOLERANCE:
        raise ConfigError(
            "--mask is not a mask",
            expected="values from 0 to 1",
            found=f"{lowest:.4g} to {highest:.4g}",
            remedy="Give a mask, not a map; one with a soft edge is made from the map without --mask",
        )
    if float(values.double().mean()) < _SMALLEST_MASK_SHARE:
        raise ConfigError(
            "--mask is empty, or nearly so",
            found=f"a mean value of {float(values.double().mean()):.2g}",
            remedy="Give a mask that covers the particle, or leave --mask out",
        )


def assemble_result(
    accumulators: tuple[SliceAccumulator, SliceAccumulator],
    halves: tuple[Volume, Volume],
    config: ReconstructConfig,
    mask: Volume | None,
    half_sets: Int[Tensor, " n"],
) -> Result:
    """Judge half-maps and make the final map from their accumulators."""
    raw = half_map_curves(halves, None)
    if mask is None:
        mean = Volume((halves[0].values + halves[1].values) / 2, halves[0].voxel_size_A)
        mask = auto_mask(mean, resolution_of(raw))
    curves = half_map_curves(halves, mask.values, config.seed)
    resolution = resolution_of(curves)
    final = sharpen(full_volume(accumulators, curves, halves[0].voxel_size_A), curves, resolution, config.bfactor_A2)
    warning = mask_warning(curves, resolution)
    return Result(
        volume=final.volume,
        half_maps=halves,
        mask=mask,
        half_sets=half_sets,
        curves=curves,
        resolution_A=resolution,
        symmetry=config.symmetry.strip().upper(),
        warnings=() if warning is None else (warning,),
        metrics={"bfactor_A2": final.bfactor_A2},
    )
