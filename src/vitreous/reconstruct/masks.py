"""Soft masks."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.fourier.filters import low_pass_to
from vitreous.typing import Map

SOFT_EDGE_VOXELS = 6.0


def _cosine_edge(distance: Tensor, width: float) -> Tensor:
    return 0.5 * (1 + torch.cos(torch.pi * (distance / width).clamp(0, 1)))


def radii(box: int) -> Map:
    """Distance of every voxel from the box centre, in voxels."""
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    return torch.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)


def sphere_mask(box: int, radius_voxels: float, edge_voxels: float = SOFT_EDGE_VOXELS) -> Map:
    """A sphere of 1 with a raised-cosine edge outside it."""
    return _cosine_edge(radii(box) - radius_voxels, edge_voxels)


def auto_mask(volume: Volume, resolution_A: float, edge_voxels: float = SOFT_EDGE_VOXELS) -> Volume:
    """Soft mask around the molecule, from the map itself.

    The map is low-passed (20 Å, or twice its resolution where that is coarser) and cut halfway between its solvent and
    the bulk of its density (Otsu 1979). The largest connected piece, and others of at least a tenth of it, are
    dilated by half the filter's resolution and given a cosine edge.

    Raises
    ------
    InputError
        If the map is empty or constant.
    """
    filter_A = max(20.0, 2 * resolution_A)
    smooth = low_pass_to(volume.values, filter_A, volume.voxel_size_A).numpy()
    inside = radii(volume.box).numpy() < volume.box / 2
    if not np.isfinite(smooth).all() or np.ptp(smooth[inside]) == 0:
        raise InputError("the map is constant or not finite", remedy="Check the particles, or give --mask")
    solid = (smooth > _otsu_threshold(smooth[inside])) & inside
    labels, count = ndimage.label(solid)
    if count > 1:
        sizes = np.bincount(labels.ravel())[1:]
        solid = np.isin(labels, 1 + np.flatnonzero(sizes >= 0.1 * sizes.max()))
    distance = ndimage.distance_transform_edt(~solid).astype(np.float32)
    grown = torch.from_numpy(distance) - 0.25 * filter_A / volume.voxel_size_A
    return Volume(_cosine_edge(grown, edge_voxels), volume.voxel_size_A, volume.origin_A)


def _otsu_threshold(values: np.ndarray) -> float:
    """Threshold that maximises the variance between two classes of values (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    valid = (below > 0) & (above > 0)
    mean_below = sums[valid] / below[valid]
    mean_above = (sums[-1] - sums[valid]) / above[valid]
    between = below[valid] * above[valid] * (mean_below - mean_above) ** 2
    return float(centres[valid][np.argmax(between)])
