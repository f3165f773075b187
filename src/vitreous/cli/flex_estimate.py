"""What ``vitreous flex`` will take: memory as its options ask for it, time from a few steps that are tried."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch

from vitreous.cli.flex_trial import seconds_per_point
from vitreous.cli.running import Estimate
from vitreous.compute.memory import MB
from vitreous.data import Particles
from vitreous.errors import ConfigError
from vitreous.methods.cryodrgn import cost as of_slices
from vitreous.methods.cryoformer import cost as of_points
from vitreous.methods.cryoformer.motion_maps import ATTENTION_BOX
from vitreous.methods.pca.config import PcaConfig

if TYPE_CHECKING:
    from vitreous.cli.flex import Flex

_BASE_BYTES = 8e8
_CACHE_BYTES = 2e9
"""Of coefficients of images, which are read again where they are more."""

_LINEAR_BATCH = 256
"""Images whose slices of all principal maps are held at one time."""

_SECONDS_PER_SAMPLE, _SECONDS_PER_SUM, _SECONDS_PER_PAIR = 1e-7, 1.5e-8, 1.5e-8
"""Of one core: to sample a coefficient of one principal map; to insert it into one of the sums over images; and, for a
voxel of the padded grid and a pair of maps, to solve for them."""

_SOLVED_AT_ONCE, _BYTES_PER_PAIR = 1 << 16, 32.0

_SECONDS_PER_READ, _SECONDS_PER_TRANSFORMED = 1e-7, 6e-8
"""The same for a map of a basis, forward and backward, and for a voxel of its padded grid."""

_REST_SECONDS = 3.0
"""Of one core: to write the result and its report."""

_PATH_MAPS, _MAPS_PER_COMPONENT = 5, 5
_MOVING, _ATTENDING = 100, 200
"""Maps, and as many times the points of the attention maps, that show what moves after a training of cryoformer."""

_BACKWARD = 3.0
"""A step over its forward pass."""


def memory_of(flex: "Flex", particles: Particles) -> Estimate:
    """Estimate the memory, and find the option to lower where it does not suffice."""
    needed = _bytes(flex, particles)
    remedy = ""
    others = [(_bytes(other, particles), flag, usual) for flag, usual, other in _with_defaults(flex)]
    least, flag, usual = min(others, default=(needed, "", ""))
    if least < needed / 2:
        remedy = f"Lower {flag}: at its default of {usual}, {least / MB:,.0f} MB would do"
    return Estimate(needed, 0.0, remedy)


def core_seconds_of(flex: "Flex", particles: Particles, device: torch.device) -> float:
    """Estimate the time on one core: of principal maps, of training as far as --minutes lets it go, and of the rest."""
    if flex.method == "pca":
        return _seconds_of_maps(particles, flex.dims, flex.pca.iterations) + _REST_SECONDS
    fitted = 0.0
    if flex.looks_for_maps:
        fitted = _seconds_of_maps(particles, flex.trained.encoder_maps, PcaConfig().iterations)
    training, after = _points(flex, len(particles), particles.box)
    if flex.method != "cryoformer" and flex.network.decoder == "basis":
        per_point = _seconds_of_basis(flex, particles.box)
    else:
        per_point = seconds_per_point(flex, particles, flex.hardware(device), device) * torch.get_num_threads()
    longest = training if flex.minutes is None else 60 * flex.minutes * torch.get_num_threads() / per_point
    return fitted + per_point * (min(training, longest) + after / _BACKWARD) + _REST_SECONDS


def _seconds_of_basis(flex: "Flex", box: int) -> float:
    """Seconds per point of a training whose steps transform all maps of a basis."""
    points = flex.network.batch * of_slices.points_per_image(box)
    maps = 1 + (flex.network.basis_maps or flex.dims)
    return maps * (_SECONDS_PER_READ + _SECONDS_PER_TRANSFORMED * (2 * box) ** 3 / points)


def _points(flex: "Flex", particles: int, box: int) -> tuple[float, float]:
    """Points that are asked for in training, and afterwards, without gradients."""
    maps = min(flex.description.clusters, particles) + _PATH_MAPS + _MAPS_PER_COMPONENT * flex.description.components
    if flex.method == "cryoformer":
        config = flex.cryoformer
        one, shown = (
            of_points.points_per_image(box, config),
            of_points.points_per_image(min(box, ATTENTION_BOX), config),
        )
        is_shown = config.decoder == "transformer" and config.domain == "real"
        after = (maps + min(_MOVING, particles)) * one + is_shown * min(_ATTENDING, 2 * particles) * shown
        return of_points.training_points(particles, box, config), after
    image = of_slices.points_per_image(box)
    after = maps * of_slices.points_per_map(box) if flex.network.decoder == "mlp" else 0.0
    if flex.method == "autodecoder":  # how sure latents are is asked of each dimension, ahead and behind
        after += particles * image * (1 + 2 * flex.dims)
    return particles * flex.network.epochs * image, after


def _bytes(flex: "Flex", particles: Particles) -> float:
    """Images up to the cache, and the larger of what the principal maps take and what training takes."""
    box, n = particles.box, len(particles)
    images = min(12 * n * of_slices.points_per_image(box), _CACHE_BYTES)
    if flex.method == "pca":
        return _bytes_of_maps(box, flex.dims) + _BASE_BYTES
    fitted = _bytes_of_maps(box, flex.trained.encoder_maps) if flex.looks_for_maps else 0.0
    if flex.method == "cryoformer":
        config = replace(flex.cryoformer, batch=min(flex.cryoformer.batch, n))
        return images + max(fitted, of_points.training_bytes(box, flex.dims, config)) + _BASE_BYTES
    training = of_slices.training_bytes(box, flex.dims, replace(flex.network, batch=min(flex.network.batch, n)))
    if flex.method == "cryonoo":
        training += of_slices.expander_bytes(flex.dims, flex.noo.expander)
    if flex.method == "autodecoder":
        training += of_slices.BYTES_PER_PARAMETER * n * flex.dims
    return images + max(fitted, training) + _BASE_BYTES


def _sums_of_maps(maps: int) -> float:
    """Numbers that a voxel's equations have: a complex one for each map, and one for each pair of them."""
    return 2 * maps + maps * (maps + 1) / 2


def _bytes_of_maps(box: int, dims: int) -> float:
    """Sums and padded grids of all principal maps, and what a batch and the solution for some voxels hold."""
    maps, padded = 1 + dims, float(2 * box) ** 3
    grids = padded * (math.pi / 12 * 4 * _sums_of_maps(maps) + 12 * maps)
    batch = _LINEAR_BATCH * maps * (32 * of_slices.points_per_image(box) + 16.0 * dims)
    return grids + max(batch, _BYTES_PER_PAIR * min(_SOLVED_AT_ONCE, padded / 4) * maps**2)


def _seconds_of_maps(particles: Particles, dims: int, rounds: int) -> float:
    """A start and rounds in which all images are inserted and all maps solved for, and a last look at the images."""
    maps, samples = 1 + dims, len(particles) * of_slices.points_per_image(particles.box)
    each = samples * (_SECONDS_PER_SAMPLE * maps + _SECONDS_PER_SUM * _sums_of_maps(maps))
    return (rounds + 1.5) * (each + _SECONDS_PER_PAIR * maps**2 * (2 * particles.box) ** 3)


def _with_defaults(flex: "Flex") -> Iterator[tuple[str, object, "Flex"]]:
    """Yield every number that was given, as its flag, its default, and the settings with that."""
    for name, prefix in (("network", ""), ("noo", "noo."), ("cryoformer", "cryoformer.")):
        group = getattr(flex, name)
        for field in fields(group):
            value = getattr(group, field.name)
            if isinstance(value, int) and value != field.default:
                try:
                    changed = replace(flex, **{name: replace(group, **{field.name: field.default})})
                except ConfigError:  # it does not fit the other options
                    continue
                yield f"--{prefix}{field.name.replace('_', '-')}", field.default, changed
    usual = type(flex).dims
    if flex.dims > usual:
        yield "--dims", usual, replace(flex, dims=usual)
