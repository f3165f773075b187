"""Do particles find their refined poses again when they are searched over all orientations?"""

import torch

from vitreous.geometry.rotations import rotation_angle_deg
from vitreous.geometry.symmetry import point_group
from vitreous.methods.search.global_search import GridSearch
from vitreous.methods.search.refinement import RefinementState
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Float, Int, Rotations, Tensor

PARTICLES_PER_HALF = 150
NEAR_DEG = 20.0
"""A little more than the spacing of the grid, whose best pose is polished."""


def found_again(
    store: CoefficientStore,
    state: RefinementState,
    half_sets: Int[Tensor, " n"],
    search: tuple[float, float],
    symmetry: str,
    *,
    fine_radius: float | None = None,
) -> float:
    """Share of some particles whose best pose on a global grid, against their half's map, is near the refined one.

    Poses that a local refinement keeps because it began with them do not come back.

    Parameters
    ----------
    store, state, half_sets
        Coefficients, refined state, and half-sets of all particles.
    search
        Radius in Fourier pixels, and largest shift as a share of the box.
    symmetry
        Point group whose mates count as one pose.
    fine_radius
        Radius on which the candidates are told apart; that of the search by default.
    """
    near = []
    for number, reference in zip((1, 2), state.references, strict=True):
        members = torch.nonzero(half_sets == number)[:, 0]
        rows = members[:: max(1, len(members) // PARTICLES_PER_HALF)][:PARTICLES_PER_HALF]
        best = GridSearch(store, reference, state.noise, *search, fine_radius=fine_radius).run_on(rows).rotations
        near.append(angle_to_nearest_mate_deg(state.rotations[rows], best, symmetry) < NEAR_DEG)
    return float(torch.cat(near).float().mean())


def angle_to_nearest_mate_deg(first: Rotations, second: Rotations, symmetry: str) -> Float[Tensor, " n"]:
    """Angle between two sets of rotations, to the nearest of the equivalent ones ``R S``."""
    mates = [rotation_angle_deg(first @ operation.to(first), second) for operation in point_group(symmetry)]
    return torch.stack(mates).amin(0)
