"""Isosurfaces: naive surface nets, vectorised.

One vertex lies in every cell that the surface passes through, at the mean of the crossings of its edges (Gibson 1998,
doi:10.1007/BFb0056277); one quadrilateral, cut along its shorter diagonal, belongs to every grid edge that crosses the
level. Vertices are shared, so the surface is closed, and triangles turn anticlockwise seen from the low side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh.

    Attributes
    ----------
    vertices
        ``[n, 3]``, ``(x, y, z)`` in voxels.
    triangles
        ``[m, 3]`` indices of vertices; the normal by the right-hand rule points to lower density.
    """

    vertices: Array
    triangles: NDArray[np.int64]

    @property
    def area(self) -> float:
        """Area in square voxels."""
        return float(np.linalg.norm(self._crosses(), axis=1).sum() / 2)

    @property
    def volume(self) -> float:
        """Enclosed volume in voxels (divergence theorem)."""
        return float(np.einsum("ij,ij->", self._crosses(), self.vertices[self.triangles[:, 0]]) / 6)

    def _crosses(self) -> Array:
        a, b, c = (self.vertices[self.triangles[:, corner]] for corner in range(3))
        return np.cross(b - a, c - a)


def isosurface(values: NDArray[np.float32], level: float) -> Surface:
    """Mesh the surface on which a map ``[z, y, x]`` equals ``level``; dense regions are closed at the box's edge."""
    padded = np.pad(values.transpose(2, 1, 0).astype(np.float64) - level, 1, constant_values=-1.0)
    crossings = [_crossings(padded, axis) for axis in range(3)]
    vertices, numbers = _vertices(padded.shape, crossings)
    quads = np.concatenate([_quads(padded, crossings[axis][0], numbers, axis) for axis in range(3)])
    return Surface(vertices - 1.0, _triangles(vertices, quads))


def _crossings(padded: Array, axis: int) -> tuple[NDArray[np.bool_], Array]:
    """For all grid edges along an axis: whether the level is crossed, and how far along the edge."""
    low, high = np.delete(padded, -1, axis), np.delete(padded, 0, axis)
    crossed = (low > 0) != (high > 0)
    return crossed, np.divide(low, low - high, out=np.zeros_like(low), where=crossed)


def _vertices(
    shape: tuple[int, ...], crossings: list[tuple[NDArray[np.bool_], Array]]
) -> tuple[Array, NDArray[np.int64]]:
    """Put a vertex into every crossed cell; return also the vertex number of each cell (−1: none)."""
    cells = tuple(n - 1 for n in shape)
    count, total = np.zeros(cells), np.zeros((*cells, 3))
    for axis, (crossed, along) in enumerate(crossings):
        first, second = (other for other in range(3) if other != axis)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            window = [slice(None)] * 3
            window[first], window[second] = slice(i, i + cells[first]), slice(j, j + cells[second])
            here = crossed[tuple(window)]
            count += here
            total[..., axis] += along[tuple(window)]
            total[..., first] += here * i
            total[..., second] += here * j
    active = count > 0
    numbers = np.full(cells, -1, dtype=np.int64)
    numbers[active] = np.arange(np.count_nonzero(active))
    return np.argwhere(active) + total[active] / count[active][:, None], numbers


def _quads(padded: Array, crossed: NDArray[np.bool_], numbers: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Join the four cells around every crossed edge of an axis, anticlockwise seen from the low side."""
    edges = np.argwhere(crossed)
    first, second = np.eye(3, dtype=np.int64)[(axis + 1) % 3], np.eye(3, dtype=np.int64)[(axis + 2) % 3]
    around = [edges - first - second, edges - second, edges, edges - first]
    quads = np.stack([numbers[tuple(cell.T)] for cell in around], axis=1)
    falls = padded[tuple(edges.T)] > 0
    return np.where(falls[:, None], quads, quads[:, ::-1])


def _triangles(vertices: Array, quads: NDArray[np.int64]) -> NDArray[np.int64]:
    corners = vertices[quads]
    diagonals = np.linalg.norm(corners[:, [0, 1]] - corners[:, [2, 3]], axis=2)
    turned = np.where((diagonals[:, 1] < diagonals[:, 0])[:, None], np.roll(quads, -1, axis=1), quads)
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]])
