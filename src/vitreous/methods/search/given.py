"""Starts that are given: a map of any grey scale, or poses, of which only what lies below a resolution is kept."""

import torch

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Poses, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.filters import apply_radial, low_pass
from vitreous.fourier.resize import resize_map
from vitreous.fourier.shells import radial_power
from vitreous.fourier.transform import centred_resize
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.starts import GivenStarts
from vitreous.reconstruct.abinitio_input import check_input
from vitreous.reconstruct.backprojection import solve
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_balance import GroupBalance
from vitreous.reconstruct.half_maps import agreement_shell
from vitreous.reconstruct.known_poses import back_project_halves
from vitreous.typing import Int, Map, Tensor

START_A = 30.0
"""Resolution in Å at which starts are cut off where none is asked for."""

LEAST_RADIUS = 4.0
"""Fourier pixels that a start must reach: less tells no directions apart."""

LEAST_BOX = 24

SPECTRUM_PARTICLES = 1000
SAME = 0.01
"""Largest relative difference of two pixel sizes that are taken for one."""


def cut_off_radius(particles: Particles, start_A: float | None) -> float:
    """Radius in Fourier pixels of the resolution at which a start is cut off.

    Without a resolution that of 30 Å, or the least radius where that is more.

    Raises
    ------
    ConfigError
        Where that leaves nothing to begin with, or lies beyond the images.
    """
    side_A = particles.box * particles.pixel_size_A
    largest = particles.box / 2 - 1
    if start_A is None:
        return min(max(side_A / START_A, LEAST_RADIUS), largest)
    radius = side_A / start_A
    if not LEAST_RADIUS <= radius <= largest:
        raise ConfigError(
            "--start-A does not fit the images",
            expected=f"{side_A / largest:.1f} to {side_A / LEAST_RADIUS:.1f} Å",
            found=f"{start_A:g} Å",
            remedy="Change --start-A",
        )
    return radius


def refuse_unusable(particles: Particles, config: SearchConfig, *, given: bool) -> None:
    """Refuse what a search cannot begin from, before anything is computed; ``given`` says whether there is a start.

    Raises
    ------
    InputError
        If there are fewer than 100 particles or the box is below 24 pixels.
    ConfigError
        If the diameter is larger than the box, or ``start_A`` leaves no frequencies to begin with.
    """
    check_input(particles, config.diameter_A)
    if particles.box < LEAST_BOX:
        raise InputError(
            "the box is too small",
            expected=f"at least {LEAST_BOX} px",
            found=f"{particles.box} px",
            remedy="Extract the particles in a larger box",
        )
    if given:
        cut_off_radius(particles, config.start_A)


def at_image_scale(values: Map, store: CoefficientStore, radius: float, seed: int) -> Map:
    """Give every shell the power that the particle has in the images: the grey scale of a map means nothing.

    Parameters
    ----------
    values
        Map in the images' box.
    store
        Coefficients of the images.
    radius
        Fourier pixels beyond which nothing is kept.
    seed
        Of the sample of images.
    """
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(store), generator=generator)[:SPECTRUM_PARTICLES].sort().values
    signal = store.spectra(sample).signal
    power = radial_power(values).float()[: len(signal)]
    shell = torch.arange(len(power))
    known = (shell <= radius) & (power > 1e-6 * power[1:].max())
    gain = torch.where(known, (signal[: len(power)] / power.clamp_min(1e-30)).sqrt(), 0.0)
    gain[0] = gain[1]
    return apply_radial(values, gain)


def maps_of_halves(
    particles: Particles,
    poses: Poses,
    half_sets: Int[Tensor, " n"],
    symmetry: str,
    progress: Progress,
    *,
    radius: float,
    balance: GroupBalance | None = None,
) -> tuple[Map, Map]:
    """Maps that the particles of each half make with given poses, in the images' box, cut off at a radius."""
    grids = back_project_halves(particles, poses, half_sets, symmetry, progress, radius=radius, balance=balance)
    first, second = (low_pass(resize_map(solve(grid), particles.box), radius) for grid in grids)
    return first, second


def given_starts(
    begin: Volume | Poses, store: CoefficientStore, half_sets: Int[Tensor, " n"], radius: float, progress: Progress
) -> GivenStarts:
    """What a search of each half begins with: one map for both, or those that poses make of the halves.

    Parameters
    ----------
    begin
        Map on the particles' grid, of any grey scale, or poses of all particles.
    store, half_sets
        Coefficients and half-sets of all particles.
    radius
        Fourier pixels at which the start is cut off.
    progress
        Where to report.
    """
    particles = store.particles
    if isinstance(begin, Volume):
        values = at_image_scale(low_pass(begin.values, radius), store, radius, 0)
        maps, reached = (values, values), radius
    else:
        arguments = (particles, begin, half_sets, "C1", progress)
        maps = maps_of_halves(*arguments, radius=radius, balance=store.balance)
        reached = agreement_shell(*maps, radius)
    first, second = (Volume(values * particles.box, particles.pixel_size_A) for values in maps)
    return GivenStarts((first, second), reached, shared_radius=radius)


def on_grid_of(volume: Volume, particles: Particles) -> Volume:
    """Bring a map to the box and pixel size of particles, by cropping or padding it in real or in Fourier space.

    Raises
    ------
    ConfigError
        Where neither pixel size nor field are those of the particles.
    """
    box, pixel_A = particles.box, particles.pixel_size_A
    if abs(volume.voxel_size_A / pixel_A - 1) < SAME:
        return Volume(centred_resize(volume.values, box, (0, 1, 2)), pixel_A)
    if abs(volume.box * volume.voxel_size_A / (box * pixel_A) - 1) < SAME:
        return Volume(resize_map(volume.values, box), pixel_A)
    raise ConfigError(
        "--map has another grid than the particles",
        expected=f"{pixel_A:.4g} Å per voxel, or a field of {box * pixel_A:.0f} Å",
        found=f"{volume.box} voxels of {volume.voxel_size_A:.4g} Å",
        remedy="Resample the map to the particles' pixel size",
    )
