"""How much of what images show above their noise a map explains that was not made from them."""

import math

import torch

from vitreous.compute.processes import current_share, pieces
from vitreous.methods.search.refinement import RefinementState, images_at_a_time
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_spectra import background_noise
from vitreous.reconstruct.target import Target
from vitreous.typing import Float, Int, Rotations, Shifts, Tensor

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
    sums = torch.zeros(3, dtype=torch.float64)
    for number, reference in zip((1, 2), reversed(state.references), strict=True):
        members = torch.nonzero(half_sets == number)[:, 0]
        rows = members[:: max(1, len(members) // IMAGES_PER_HALF)][:IMAGES_PER_HALF]
        target = Target.of(reference, store.disc, state.noise, radius)
        sums += powers_at(store, rows, (state.rotations[rows], state.shifts_px[rows]), target)
    return share_of(sums)


def powers_at(
    store: CoefficientStore, rows: Int[Tensor, " m"], poses: tuple[Rotations, Shifts], target: Target
) -> Float[Tensor, "3"]:
    """Explained power, power above the background, and the variance of the latter, of images at given poses."""
    disc, share = store.disc, current_share()
    noise = torch.ones(int(disc.shell[-1]) + 1) if store.balance is not None else background_noise(store)
    expected, outer = noise[disc.shell[: target.count]], disc.shell[: target.count] >= FIRST_SHELL
    sums = torch.zeros(3, dtype=torch.float64)
    for chunk in share.mine(pieces(torch.arange(len(rows)), images_at_a_time(target.count))):
        part = store.device_batch(rows[chunk], target.count)
        power, explained = target.explained(part, *(column[chunk].to(target.device) for column in poses))
        floor = expected.to(target.device) * part.c2
        powers = (explained, power - floor, floor.square())
        sums += torch.stack([values.cpu()[:, outer].sum() for values in powers]).double()
    share.sum_(sums)
    return sums


def share_of(powers: Float[Tensor, "3"]) -> float:
    """Explained over all power above the background, from :func:`powers_at`; NaN where there is none."""
    explained, signal, squared = powers.tolist()
    return explained / signal if signal > SIGNIFICANCE * math.sqrt(squared) else math.nan
