"""Viewing directions on the sphere: density and the Mollweide projection.

The viewing direction of a particle is the beam seen from the particle: the third row of R, for RELION's angles
``(sin tilt cos rot, sin tilt sin rot, cos tilt)``.
"""

import numpy as np
from numpy.typing import NDArray

from vitreous.geometry.sphere_bins import SphereBins

Array = NDArray[np.float64]


def viewing_directions(rot_deg: Array, tilt_deg: Array) -> Array:
    """Unit vectors ``[n, 3]``, ``(x, y, z)`` in the particle's frame, of RELION's first two angles."""
    rot, tilt = np.deg2rad(rot_deg), np.deg2rad(tilt_deg)
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=-1)


def relative_density(directions: Array, at: Array, width_deg: float, bins: SphereBins) -> Array:
    """Density of directions ``[n, 3]`` at the points ``at`` ``[m, 3]``, 1 where it is that of a uniform set.

    Directions are counted in equal-area bins and smoothed with a von Mises–Fisher kernel of standard deviation
    ``width_deg``.
    """
    relative = np.bincount(bins.index(directions), minlength=len(bins)) * (len(bins) / len(directions))
    return _smoothed(bins.centres(), relative.astype(np.float64), at, width_deg)


def smoothed(directions: Array, values: Array, at: Array, width_deg: float) -> Array:
    """Smooth values that are known at evenly spread directions ``[n, 3]`` and their opposites, at points ``[m, 3]``.

    The kernel is that of :func:`relative_density`.
    """
    return _smoothed(np.concatenate([directions, -directions]), np.concatenate([values, values]), at, width_deg)


def _smoothed(centres: Array, values: Array, at: Array, width_deg: float) -> Array:
    kappa = np.float32(1 / np.deg2rad(width_deg) ** 2)
    nodes, heights = centres.astype(np.float32), values.astype(np.float32)
    smooth = []
    for part in np.array_split(at.astype(np.float32), max(1, len(at) // 2000)):
        weight = np.exp(kappa * (part @ nodes.T - 1))
        smooth.append((weight @ heights) / weight.sum(axis=1))
    return np.concatenate(smooth).astype(np.float64)


def kernel_width_deg(n: int) -> float:
    """Width at which about 50 of ``n`` uniform directions share a kernel (15 % noise), between 3° and 15°."""
    return float(np.clip(np.rad2deg(np.sqrt(50 / n)), 3, 15))


def mollweide_grid(height: int) -> tuple[Array, Array, Array]:
    """Directions on a Mollweide map ``height`` pixels high and twice as wide.

    Returns
    -------
    x, y
        Pixel centres, in −2 … 2 (rot −180° … 180°) and −1 … 1 (tilt 180° … 0°: +z is on top).
    directions
        ``[height, 2 · height, 3]``, NaN outside the ellipse.
    """
    x = 2 * ((np.arange(2 * height) + 0.5) / height - 1)
    y = 2 * (np.arange(height) + 0.5) / height - 1
    auxiliary = np.arcsin(y)[:, None]
    rot = np.pi * x[None, :] / (2 * np.cos(auxiliary))
    latitude = np.arcsin((2 * auxiliary + np.sin(2 * auxiliary)) / np.pi)
    rot = np.where(np.abs(rot) <= np.pi, rot, np.nan)
    tilt = np.where(np.isnan(rot), np.nan, np.pi / 2 - latitude)
    return x, y, viewing_directions(np.rad2deg(rot), np.rad2deg(tilt))


def mollweide(rot_deg: Array, tilt_deg: Array) -> tuple[Array, Array]:
    """Project directions: ``x`` in −2 … 2, ``y`` in −1 … 1."""
    table = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    latitude = np.arcsin(np.clip((2 * table + np.sin(2 * table)) / np.pi, -1, 1))
    auxiliary = np.interp(np.pi / 2 - np.deg2rad(tilt_deg), latitude, table)
    return 2 * np.asarray(rot_deg) / 180 * np.cos(auxiliary), np.sin(auxiliary)
