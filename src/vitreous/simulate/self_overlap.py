"""How nearly a structure looks the same after a rotation, which bounds how well a pose can be told from an image."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vitreous.geometry.grids import local_so3_grid, so3_grid
from vitreous.geometry.rotations import rotation_angle_deg
from vitreous.simulate.self_overlap_kernels import lookup_kernel
from vitreous.typing import Bool, Float, Rotations

SYMMETRIC_FROM = 0.97
"""Self-overlap from which a structure is better taken for symmetric (docs/corpus.md has the distributions)."""

_LEAST_ANGLE_DEG = 30.0
_BEADS = 300
_SIGMAS_PER_DIAMETER = 16
_VOXELS_PER_SIGMA = 2
_SIZE = 40
"""Voxels of the grid: the diameter and four on each side."""

_PEAKS = 10
_PEAK_WIDTH_DEG = 25.0
_REFINEMENTS_DEG = ((3.0, 9.0), (1.5, 3.0))
"""Spacing and extent of the local grids around the peaks, then around the best rotation."""


def self_overlap(points_A: NDArray[Any], seed: int = 0) -> float:
    """Return the largest overlap of a structure with itself under a rotation of more than 30°.

    The structure is smoothed by a Gaussian of a sixteenth of its diameter. Of its density only what is not spherical
    counts: ``(⟨f, Rf⟩ − m) / (⟨f, f⟩ − m)``, with m the mean of ``⟨f, Rf⟩`` over all rotations, which is the norm of
    the spherical part. The identity gives 1, rotations give 0 on average, and a structure with a rotational symmetry
    gives 1 again, however round it is.

    Parameters
    ----------
    points_A
        Points of equal weight ``[n, 3]`` in Å. They are rotated about their centroid.
    seed
        Start of the choice of at most 300 points that are looked up.
    """
    centred = np.asarray(points_A, np.float64) - np.mean(points_A, 0, dtype=np.float64)
    diameter_A = max(2 * float(np.linalg.norm(centred, axis=1).max()), 1e-6)
    points = centred * (_SIGMAS_PER_DIAMETER * _VOXELS_PER_SIGMA / diameter_A)
    chosen = np.random.default_rng(seed).choice(len(points), min(_BEADS, len(points)), replace=False)
    beads, grid = points[chosen].astype(np.float32), _autocorrelation_grid(points)

    def overlap(rotations: Rotations) -> Float[torch.Tensor, " n"]:
        return torch.from_numpy(lookup_kernel(beads, rotations.numpy(), grid))

    coarse = _coarse_rotations()
    found = overlap(coarse)
    whole, mean = float(overlap(torch.eye(3)[None])[0]), float(found.mean())
    far = _is_far(coarse)
    peaks, best = _peaks(coarse[far], found[far]), float(found[far].max())
    for spacing_deg, extent_deg in _REFINEMENTS_DEG:
        near = (_local_rotations(spacing_deg, extent_deg)[None] @ peaks[:, None]).reshape(-1, 3, 3)
        near = near[_is_far(near)]
        values = overlap(near)
        peaks, best = near[values.argmax()][None], max(best, float(values.max()))
    return min(1.0, max(0.0, (best - mean) / max(whole - mean, 1e-6 * whole)))


def _autocorrelation_grid(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the smoothed density of points in voxels, smoothed once more for the points that will be looked up."""
    nodes = np.floor(points + _SIZE // 2 + 0.5).astype(np.int64)
    flat = (nodes[:, 2] * _SIZE + nodes[:, 1]) * _SIZE + nodes[:, 0]
    counts = np.bincount(flat, minlength=_SIZE**3).reshape(_SIZE, _SIZE, _SIZE).astype(np.float32)
    return gaussian_filter(counts, math.sqrt(2) * _VOXELS_PER_SIGMA, mode="constant")


def _peaks(rotations: Rotations, values: Float[torch.Tensor, " n"]) -> Float[torch.Tensor, "peaks 3 3"]:
    """Return the rotations of the highest values that lie at least a peak's width apart."""
    left = values.clone()
    found = []
    for _ in range(_PEAKS):
        found.append(rotations[left.argmax()])
        cosine = ((rotations * found[-1]).sum((1, 2)) - 1) / 2
        left[cosine > math.cos(math.radians(_PEAK_WIDTH_DEG))] = -math.inf
    return torch.stack(found)


def _is_far(rotations: Rotations) -> Bool[torch.Tensor, " n"]:
    return rotation_angle_deg(rotations, torch.eye(3).expand_as(rotations)) > _LEAST_ANGLE_DEG


@cache
def _coarse_rotations() -> Rotations:
    return so3_grid(4, 24)


@cache
def _local_rotations(spacing_deg: float, extent_deg: float) -> Rotations:
    return local_so3_grid(spacing_deg, extent_deg)
