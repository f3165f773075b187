"""Reconstruction with known poses: two half-maps, their FSC, and the map."""

from dataclasses import dataclass

import torch
from torch import Tensor

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
)
from vitreous.reconstruct.half_maps import half_map_curves, mask_warning, resolution_of, signal_to_noise
from vitreous.reconstruct.masks import auto_mask, sphere_mask
from vitreous.reconstruct.postprocess import sharpen
from vitreous.typing import Int, Map

_GRID_BUDGET_BYTES = 2_000_000_000
_SPHERE_EDGE_VOXELS = 3.0


@dataclass(frozen=True)
class ReconstructConfig:
    """How maps are made from particles with known poses."""

    symmetry: str = "C1"
    """Point group: C1, C4, D2, T, O, I …"""
    bfactor_A2: float | None = None
    """B-factor of the sharpening in Å² (negative sharpens, 0 switches it off); fitted by default."""
    seed: int = 0
    """Seed of the half-set split, where the particles have none, and of the phase randomisation."""

    def __post_init__(self) -> None:
        """Refuse a point group that does not exist."""
        point_group(self.symmetry)


def split_half_sets(particles: Particles, seed: int) -> Int[Tensor, " n"]:
    """Half-set of every particle: the given one, or a random split into equal halves."""
    if particles.half_sets is not None:
        return particles.half_sets
    order = torch.randperm(len(particles), generator=torch.Generator().manual_seed(seed))
    halves = torch.ones(len(particles), dtype=torch.int64)
    halves[order[len(particles) // 2 :]] = 2
    return halves


def grid_copies(box: int, threads: int) -> int:
    """Private grids that two accumulators may have: one per thread, as far as they take less than 2 GB."""
    size = 12 * (2 * box + 1) ** 2 * (box + 1)
    return max(1, min(threads, _GRID_BUDGET_BYTES // (2 * size)))


def back_project_halves(
    particles: Particles, poses: Poses, half_sets: Int[Tensor, " n"], symmetry: str, progress: Progress
) -> tuple[SliceAccumulator, SliceAccumulator]:
    """Insert every particle into the accumulator of its half-set; images are read once, in order."""
    coefficients = disc(particles.box, particles.box / 2)
    k = (coefficients.kx, coefficients.ky)
    copies = grid_copies(particles.box, torch.get_num_threads())
    first, second = (SliceAccumulator(particles.box, threads=copies) for _ in range(2))
    group = point_group(symmetry)
    with progress.stage("Back-projecting", total=len(particles)):
        for indices in batches(len(particles), particles.box):
            shifts_px = (poses.shifts_A[indices] / particles.pixel_size_A).float()
            values = centred_coefficients(particles.images(indices), shifts_px, coefficients)
            ctf = disc_ctf(particles.optics.select(indices), coefficients, particles.pixel_size_A)
            values = values if particles.ctf_premultiplied else values * ctf
            weights = ctf * ctf
            for number, accumulator in ((1, first), (2, second)):
                mine = half_sets[indices] == number
                for rotations in symmetry_copies(poses.rotations[indices][mine], group):
                    accumulator.add(rotations, k, values[mine], weights[mine])
            progress.advance(len(indices))
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
    particles: Particles, config: ReconstructConfig, progress: Progress, mask: Volume | None = None
) -> Result:
    """Reconstruct particles with known poses.

    Returns
    -------
    Result
        ``volume`` (Wiener-regularised, FSC-weighted, sharpened), raw ``half_maps``, ``mask``, ``curves``,
        ``resolution_A`` at FSC 0.143 of the corrected curve, and the ``half_sets`` used.

    Raises
    ------
    InputError
        If the particles have no poses, if a half-set is empty, or if the mask does not fit.
    """
    if particles.poses is None:
        raise InputError(
            "the particles have no poses", remedy="Run `vitreous abinitio` first, or give a STAR file with angles"
        )
    half_sets = split_half_sets(particles, config.seed)
    if min(int((half_sets == 1).sum()), int((half_sets == 2).sum())) == 0:
        raise InputError(
            "a half-set is empty", found=f"{len(particles)} particles", remedy="Give at least two particles"
        )
    accumulators = back_project_halves(particles, particles.poses, half_sets, config.symmetry, progress)
    halves = half_volumes(accumulators, particles.pixel_size_A)
    return assemble_result(accumulators, halves, config, mask, half_sets)


def assemble_result(
    accumulators: tuple[SliceAccumulator, SliceAccumulator],
    halves: tuple[Volume, Volume],
    config: ReconstructConfig,
    mask: Volume | None,
    half_sets: Int[Tensor, " n"],
) -> Result:
    """Judge half-maps and make the final map from their accumulators."""
    if mask is not None and mask.box != halves[0].box:
        raise ConfigError(
            "--mask has another box than the particles",
            expected=halves[0].box,
            found=mask.box,
            remedy="Resample the mask to the particles' box and pixel size",
        )
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
        warnings=() if warning is None else (warning,),
        metrics={"bfactor_A2": final.bfactor_A2},
    )
