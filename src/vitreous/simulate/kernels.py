"""Native kernel that spreads points onto a periodic grid."""

from typing import no_type_check

from numba import njit


@njit(cache=True, nogil=True)
@no_type_check  # compiled code cannot carry the run-time checks of the tests
def spread_kernel(starts, weights, values, grid):
    """Add ``values [n]`` to ``grid [z, y, x]`` with separable ``weights [n, 3, w]`` from cell ``starts [n, 3]`` on.

    The last axes of ``starts`` and ``weights`` are (x, y, z); the grid is periodic.
    """
    size = grid.shape[0]
    width = weights.shape[2]
    for i in range(len(values)):
        for dz in range(width):
            z = (starts[i, 2] + dz) % size
            at_z = values[i] * weights[i, 2, dz]
            for dy in range(width):
                y = (starts[i, 1] + dy) % size
                at_y = at_z * weights[i, 1, dy]
                row = grid[z, y]
                for dx in range(width):
                    row[(starts[i, 0] + dx) % size] += at_y * weights[i, 0, dx]
