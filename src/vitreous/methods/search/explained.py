"""How much of what images show above their noise a map explains that was not made from them."""

import math

import torch

from vitreous.compute.processes import current_share, pieces
from vitreous.methods.search.refinement import RefinementState, images_at_a_time
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_spectra import background_noise
from vitreous.reconstruct.target import Target
from vitreous.typing import Float, Int, Tensor

IMAGES_PER_HALF = 500
FIRST_SHELL = 3
"""Any blob explains what lies below."""

SIGNIFICANCE = 5.0


def explained_share(
    store: CoefficientStore, state: RefinementState, half_sets: Int[Tensor, " n"], radius: float
) -> float:
    """Share of the images' power above the background that the map of the *other* half explains at their poses.

    ``Σ C²(2·Re⟨Y·C, P⟩ − C²|P|²) / Σ (|Y·C|² − N·C²)`` over 500 images of each half and the coefficients from shell 3
    to a radius, with the power N of the background around the particles. 1 for the true map at the true poses; a map
    to which images were fitted that it does not resemble explains a third. NaN where the images show no power above
    the background.
    """
    disc, share = store.disc, current_share()
    noise = torch.ones(int(disc.shell[-1]) + 1) if store.balance is not None else background_noise(store)
    sums = torch.zeros(3, dtype=torch.float64)
    for number, reference in zip((1, 2), reversed(state.references), strict=True):
        members = torch.nonzero(half_sets == number)[:, 0]
        rows = members[:: max(1, len(members) // IMAGES_PER_HALF)][:IMAGES_PER_HALF]
        target = Target.of(reference, disc, state.noise, radius)
        expected, outer = noise[disc.shell[: target.count]], disc.shell[: target.count] >= FIRST_SHELL
        for chunk in share.mine(pieces(rows, images_at_a_time(target.count))):
            found = _powers(store, state, chunk, target, expected)
            sums += torch.stack([values[:, outer].sum() for values in found]).double()
    share.sum_(sums)
    explained, signal, squared = sums.tolist()
    return explained / signal if signal > SIGNIFICANCE * math.sqrt(squared) else math.nan


def _powers(
    store: CoefficientStore,
    state: RefinementState,
    rows: Int[Tensor, " m"],
    target: Target,
    noise: Float[Tensor, " k"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Explained power, power above the noise, and variance of the latter, per image and coefficient."""
    part = store.device_batch(rows, target.count)
    pose = (column[rows].to(target.device) for column in (state.rotations, state.shifts_px))
    power, explained = target.explained(part, *pose)
    expected = noise.to(target.device) * part.c2
    powers = (explained, power - expected, expected.square())
    return tuple(values.cpu() for values in powers)  # type: ignore[return-value]
