"""What the views of a run and its half-maps say about its resolution by direction."""

from dataclasses import replace

import torch

from vitreous.analysis.conical_fsc import cone_axes, conical_fsc, sphericity
from vitreous.analysis.orientations import FourierSampling, fourier_sampling
from vitreous.constants import FSC_GOLD_STANDARD
from vitreous.data import ConicalCurves, Poses, ResolutionCurves, Result, Volume
from vitreous.fourier.shells import resolution_A
from vitreous.geometry.symmetry import point_group
from vitreous.typing import Float, Tensor

LOWEST_COMPENSATION_FACTOR = 0.6
LARGEST_UNSAMPLED_SHARE = 0.05
"""Below and above which views are called preferred; measured in docs/orientations.md."""

_FEWEST_VIEWS = 50
_SLICES_AT_AXES = 1_000_000
"""Slices counted at the axes of the cones, more or less: of more, every second, third … particle is taken."""

_BEST, _MEDIAN, _WORST = 0.05, 0.5, 0.95


def with_orientations(result: Result, poses: Poses | None, symmetry: str) -> Result:
    """Add to a result how its views sample Fourier space, its FSC by direction, and a warning of preferred views.

    Parameters
    ----------
    result
        What a method found; without half-maps it is returned as it is.
    poses
        Poses of all particles that the half-maps hold, None where they are unknown: nothing is added then.
    symmetry
        Point group of map and poses.

    Returns
    -------
    Result
        With ``cones``, ``metrics`` and ``warnings``. The resolutions in ``metrics`` are the 5th, 50th and 95th
        percentile over the directions: the first and the last of 200 noisy curves say little.
    """
    if poses is None or len(poses) == 0 or result.half_maps is None:
        return result
    group = point_group(symmetry)
    sampling = fourier_sampling(poses.rotations, group)
    axes = cone_axes()
    every = max(1, len(poses) * len(group) // _SLICES_AT_AXES)
    at_axes = fourier_sampling(poses.rotations[::every], group, axes)
    cones = cones_of(result.half_maps, result.mask, result.curves, at_axes)
    best, median, worst = torch.quantile(cones.resolution_A, torch.tensor([_BEST, _MEDIAN, _WORST]).double()).tolist()
    figures = {
        "sampling_compensation_factor": sampling.compensation_factor,
        "unsampled_share": sampling.unsampled_share,
        "best_direction_A": best,
        "median_direction_A": median,
        "worst_direction_A": worst,
        "sphericity": sphericity(axes, 1 / cones.resolution_A),
    }
    said = () if result.verdict == "failed" else preferred_view_warning(sampling, (best, worst))
    return replace(result, cones=cones, metrics={**result.metrics, **figures}, warnings=(*result.warnings, *said))


def cones_of(
    halves: tuple[Volume, Volume], mask: Volume | None, curves: ResolutionCurves | None, sampling: FourierSampling
) -> ConicalCurves:
    """Conical FSC of two half-maps about the directions at which the sampling is known.

    With a mask and corrected curves, half-maps are masked and every cone is corrected by what phase randomisation
    found in whole shells, because a single cone holds too few coefficients to tell.
    """
    first, second = (half.values for half in halves)
    box, voxel_A = halves[0].box, halves[0].voxel_size_A
    if mask is None or curves is None or curves.masked is None or curves.corrected is None:
        found = conical_fsc(first, second, sampling.directions)
    else:
        floor = _floor_of(curves.masked.double(), curves.corrected.double())
        found = (conical_fsc(first * mask.values, second * mask.values, sampling.directions) - floor) / (1 - floor)
    resolutions = [resolution_A(curve, FSC_GOLD_STANDARD, box, voxel_A) for curve in found]
    return ConicalCurves(
        frequency_per_A=torch.arange(box // 2 + 1, dtype=torch.float64) / (box * voxel_A),
        directions=sampling.directions,
        fsc=found,
        resolution_A=torch.tensor(resolutions, dtype=torch.float64),
        sampling=sampling.relative,
    )


def _floor_of(masked: Float[Tensor, " shells"], corrected: Float[Tensor, " shells"]) -> Float[Tensor, " shells"]:
    """Correlation that the mask alone makes: ``corrected = (masked − floor) / (1 − floor)``, solved for it."""
    room = 1 - corrected
    return torch.where(room > 0, (masked - corrected) / room.clamp_min(1e-12), torch.zeros_like(room)).clamp(0, 0.999)


def preferred_view_warning(sampling: FourierSampling, range_A: tuple[float, float]) -> tuple[str, ...]:
    """Return a warning where views are strongly preferred or a cone of directions has no slice, else nothing."""
    factor, unsampled = sampling.compensation_factor, sampling.unsampled_share
    is_even = factor >= LOWEST_COMPENSATION_FACTOR and unsampled <= LARGEST_UNSAMPLED_SHARE
    if is_even or sampling.views < _FEWEST_VIEWS:
        return ()
    missing = f"{unsampled:.0%} of all directions of Fourier space lie in no slice, and "
    missing = missing if unsampled > LARGEST_UNSAMPLED_SHARE else ""
    return (
        f"Views are strongly preferred, at the poses found: {missing}the sampling compensation factor is {factor:.2f} "
        f"(1 for even views). The resolution ranges from {range_A[0]:.1f} to {range_A[1]:.1f} Å by direction, and the "
        "map is smeared where it is worst. Collect tilted images (30° to 40°), try other grids or a detergent, and "
        "look for rare views that picking or 2D cleaning left out; more of the same images will not help. Wrong poses "
        "look like this, too.",
    )
