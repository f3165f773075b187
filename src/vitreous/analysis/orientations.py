"""How evenly the views of a particle set sample Fourier space.

A view along ``n`` adds one slice, the plane through the origin perpendicular to ``n``. At Fourier radius ``r`` a slice
of unit thickness holds the directions ``k`` with ``|n·k| ≤ 1/(2r)``, a share ``1/(2r)`` of the sphere.
"""

from dataclasses import dataclass

import torch

from vitreous.geometry.grids import fibonacci_directions, in_asymmetric_unit, viewing_directions
from vitreous.geometry.symmetry import PointGroup
from vitreous.typing import Float, Int, Rotations, Tensor

DIRECTIONS = 3000
"""Directions of the whole sphere at which slices are counted."""

_SLICES_EXPECTED = 20
_LOWEST_RADIUS, _HIGHEST_RADIUS = 5.0, 50.0
_CHUNK_VALUES = 1_000_000


@dataclass(frozen=True)
class FourierSampling:
    """Slices through directions of Fourier space.

    Attributes
    ----------
    directions
        Unit vectors ``[m, 3]``, ``(x, y, z)`` in the particle's frame, each of the same solid angle.
    slices
        How many slices, symmetry mates included, pass through each direction.
    expected
        How many would if views were uniform.
    views
        How many slices there are, symmetry mates included.
    """

    directions: Float[Tensor, "m 3"]
    slices: Int[Tensor, " m"]
    expected: float
    views: int

    @property
    def relative(self) -> Float[Tensor, " m"]:
        """Slices relative to uniform views."""
        return self.slices.double() / self.expected

    @property
    def unsampled_share(self) -> float:
        """Share of the directions through which no slice passes."""
        return float((self.slices == 0).double().mean())

    @property
    def compensation_factor(self) -> float:
        """Sampling compensation factor (SCF), 1 for uniform views, at most 1.

        ``1 / SCF = ⟨1 / s⟩`` over the sphere, with the sampling ``s`` relative to its mean (Baldwin & Lyumkis 2020,
        doi:10.1016/j.pbiomolbio.2019.09.002). There it is 0 as soon as a direction has no slice; here mean and
        reciprocal mean are taken over the directions that have one, and the result is multiplied by their share.
        ``1 / (m + 1)`` stands for the reciprocal of a count ``m``: its mean over a Poisson count is the reciprocal of
        the expected count, so that few particles do not look like uneven ones.
        """
        found = self.slices[self.slices > 0].double()
        if len(found) == 0:
            return 0.0
        even = 1 / float(found.mean() * (1 / (found + 1)).mean())
        return min(even, 1.0) * (1 - self.unsampled_share)


def fourier_sampling(
    rotations: Rotations, group: PointGroup, directions: Float[Tensor, "m 3"] | None = None
) -> FourierSampling:
    """Count the slices of a particle set, with all symmetry mates, through directions of Fourier space.

    The thickness of a slice is that at Fourier radius 50, or less where there are so few particles that a direction
    would see fewer than 20 slices of uniform views there.

    Parameters
    ----------
    rotations
        Poses ``[n, 3, 3]``, at least one.
    group
        The point group; the poses have its axes.
    directions
        Where to count; by default evenly over one asymmetric unit of the sphere.
    """
    if directions is None:
        sphere = fibonacci_directions(DIRECTIONS)
        directions = sphere[in_asymmetric_unit(sphere, group)]
    views = viewing_directions(rotations).float()
    copies = len(views) * len(group)
    radius = min(max(copies / (2 * _SLICES_EXPECTED), _LOWEST_RADIUS), _HIGHEST_RADIUS)
    half_thickness = 1 / (2 * radius)
    mates = torch.cat([directions.float() @ operation.float().T for operation in group])
    slices = torch.zeros(len(mates), dtype=torch.int64)
    for part in views.split(max(1, _CHUNK_VALUES // len(mates))):
        slices += ((part @ mates.T).abs_() <= half_thickness).sum(0)
    total = slices.reshape(len(group), -1).sum(0)
    return FourierSampling(directions, total, copies * half_thickness, copies)
