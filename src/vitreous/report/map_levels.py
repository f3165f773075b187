"""Which isosurfaces of a map to show, and their meshes in a compact form."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from vitreous.data import Volume
from vitreous.fourier.transform import centred_resize, irfft3_centred, rfft3_centred
from vitreous.report.surface import Surface, isosurface

LEVELS = 5
_MAX_BOX = 64
_MAX_TRIANGLES = 160_000
_SPECK = 0.01
A3_PER_DALTON = 1.21
"""Volume of protein per dalton (Harpaz, Gerstein & Chothia 1994, doi:10.1016/S0969-2126(00)00065-4)."""

Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Level:
    """One isosurface.

    Attributes
    ----------
    threshold
        Density of the surface.
    volume_A3
        Volume of all voxels of the full map above it, in Å³.
    surface
        The mesh; vertices in Å from the box centre.
    openness
        How much of the surroundings of each vertex is empty, 0 (a pocket) to 1 (a tip), for shading.
    """

    threshold: float
    volume_A3: float
    surface: Surface
    openness: NDArray[np.float64]

    @property
    def protein_kDa(self) -> float:
        """Mass of protein that would fill the volume."""
        return self.volume_A3 / A3_PER_DALTON / 1000

    def payload(self) -> dict[str, Any]:
        """Return the mesh for the page: 16-bit coordinates and the smallest integers that number the vertices."""
        scale = max(float(np.abs(self.surface.vertices).max(initial=0)), 1e-6) / 32767
        small = len(self.surface.vertices) <= 65536
        return {
            "threshold": self.threshold,
            "volume_nm3": self.volume_A3 / 1000,
            "protein_kDa": self.protein_kDa,
            "reach_A": float(np.linalg.norm(self.surface.vertices, axis=1).max(initial=0)),
            "scale": scale,
            "openness": _base64(np.rint(255 * self.openness), "u1"),
            "vertices": _base64(np.rint(self.surface.vertices / scale), "<i2"),
            "triangles": _base64(self.surface.triangles, "<u2" if small else "<u4"),
            "bytes_per_index": 2 if small else 4,
        }


def levels_of(volume: Volume, mask: Volume | None = None) -> list[Level]:
    """Mesh a map at a few densities around the one that separates particle from background.

    The map is cropped to what lies above the lowest level and resampled to at most 64³ voxels; specks below 1 % of the
    largest piece are left out. Returns nothing for a flat map.
    """
    values = volume.values.numpy()
    region = _region(volume, mask)
    thresholds = choose_thresholds(values, region)
    if not thresholds:
        return []
    for box in (_MAX_BOX, 48, 32):
        grid, step, offset = _shown_grid(values, region, thresholds[0], box)
        surfaces = [isosurface(_without_specks(grid, level), level) for level in thresholds]
        if sum(len(surface.triangles) for surface in surfaces) <= _MAX_TRIANGLES:
            break
    voxel = volume.voxel_size_A
    return [
        Level(
            level,
            float(np.count_nonzero(values > level)) * voxel**3,
            Surface((surface.vertices * step + offset) * voxel, surface.triangles),
            _openness(grid > level, surface),
        )
        for level, surface in zip(thresholds, surfaces)
        if len(surface.triangles)
    ]


def choose_thresholds(values: Grid, region: NDArray[np.bool_]) -> list[float]:
    """Choose ascending densities; the middle one is Otsu's threshold of the map inside ``region`` (Otsu 1979).

    Only positive densities count. The lowest level is half of the middle one, but above three standard deviations of
    what lies outside the region where that is possible; the highest is 60 % of the way to the peak, at most twice the
    middle one.
    """
    inside, outside = values[region], values[~region]
    if not inside.size or not inside.max() > max(inside.min(), 0):
        return []
    positive = inside[inside > 0]
    middle = otsu(positive) if np.ptp(positive) > 0 else float(positive[0]) / 2
    noise = 3 * float(outside.std()) if outside.size else 0.0
    low = max(0.5 * middle, min(noise, 0.85 * middle))
    high = min(2 * middle, middle + 0.6 * (float(inside.max()) - middle))
    half = LEVELS // 2 + 1
    return [float(level) for level in (*np.geomspace(low, middle, half), *np.geomspace(middle, high, half)[1:])]


def otsu(values: Grid) -> float:
    """Return the threshold that maximises the variance between the two sides of it (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = len(values) - below
    mass = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (mass[:-1] / below - (mass[-1] - mass[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between)])


def _region(volume: Volume, mask: Volume | None) -> NDArray[np.bool_]:
    """Where the particle may be: the mask, or the sphere that fits into the box."""
    if mask is not None and mask.values.shape == volume.values.shape and bool((mask.values > 0.5).any()):
        return (mask.values > 0.5).numpy()
    box = volume.box
    distance = (np.arange(box) - box // 2) ** 2
    return distance[:, None, None] + distance[None, :, None] + distance <= (0.48 * box) ** 2


def _shown_grid(values: Grid, region: NDArray[np.bool_], level: float, box: int) -> tuple[Grid, float, float]:
    """Crop to the dense part and resample; return the grid, its step and its first voxel's place from the centre."""
    n = values.shape[0]
    dense = np.argwhere((values > level) & region)
    reach = int(np.abs(dense - n // 2).max(initial=4)) + 3
    half = min(reach, n // 2)
    cropped = centred_resize(torch.from_numpy(values), min(2 * half, n), dims=(0, 1, 2))
    while cropped.shape[0] > 4 * box:
        even = cropped[: cropped.shape[0] // 2 * 2, : cropped.shape[0] // 2 * 2, : cropped.shape[0] // 2 * 2]
        cropped = torch.nn.functional.avg_pool3d(even[None, None], 2)[0, 0]
    side = cropped.shape[0]
    step = min(2 * half, n) / min(side, box)
    if side > box:
        transform = rfft3_centred(cropped)
        small = _crop_half_space(transform, box)
        cropped = irfft3_centred(small, box) * (box / side) ** 3
    return cropped.numpy(), step, -step * (cropped.shape[0] // 2)


def _crop_half_space(transform: torch.Tensor, box: int) -> torch.Tensor:
    keep = (box - 1) // 2
    rows = torch.cat([torch.arange(keep + 1), torch.arange(-keep, 0)]) % transform.shape[0]
    out = transform.new_zeros((box, box, box // 2 + 1))
    here = rows.where(rows <= keep, rows - transform.shape[0]) % box
    out[here[:, None], here[None, :], : keep + 1] = transform[rows[:, None], rows[None, :], : keep + 1]
    return out


def _without_specks(grid: Grid, level: float) -> Grid:
    """Lower the small separate pieces to just below the level."""
    pieces, count = ndimage.label(grid > level, structure=np.ones((3, 3, 3)))
    if count < 2:
        return grid
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    small = sizes < _SPECK * sizes.max()
    small[0] = False
    return np.where(small[pieces], np.float32(level * (1 - 1e-5)), grid)


def _openness(dense: NDArray[np.bool_], surface: Surface) -> NDArray[np.float64]:
    """Empty share of a Gaussian ball of 2.5 voxels at each vertex, stretched: a plane's 0.5 becomes 0.6."""
    filled = ndimage.gaussian_filter(dense.astype(np.float32), 2.5, mode="constant")
    around = ndimage.map_coordinates(filled, surface.vertices.T[::-1], order=1, mode="nearest")
    return np.clip((0.8 - around.astype(np.float64)) * 2, 0, 1)


def _base64(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode()
