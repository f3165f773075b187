"""Native kernel that looks up rotated points in a grid."""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check  # compiled code cannot carry the run-time checks of the tests
def lookup_kernel(points, rotations, grid):
    """Sum ``grid [z, y, x]`` at ``rotations [m, 3, 3] @ points [n, 3]`` (x, y, z), by trilinear interpolation.

    Points are in voxels from the grid's centre and must stay inside it.
    """
    centre = np.float32(grid.shape[0] // 2)
    sums = np.zeros(len(rotations), np.float32)
    for k in range(len(rotations)):
        r = rotations[k]
        for i in range(len(points)):
            px, py, pz = points[i, 0], points[i, 1], points[i, 2]
            x = r[0, 0] * px + r[0, 1] * py + r[0, 2] * pz + centre
            y = r[1, 0] * px + r[1, 1] * py + r[1, 2] * pz + centre
            z = r[2, 0] * px + r[2, 1] * py + r[2, 2] * pz + centre
            ix, iy, iz = int(x), int(y), int(z)
            fx, fy, fz = x - ix, y - iy, z - iz
            for dz in range(2):
                wz = fz if dz else 1 - fz
                low = grid[iz + dz, iy, ix] * (1 - fx) + grid[iz + dz, iy, ix + 1] * fx
                high = grid[iz + dz, iy + 1, ix] * (1 - fx) + grid[iz + dz, iy + 1, ix + 1] * fx
                sums[k] += wz * (low * (1 - fy) + high * fy)
    return sums
