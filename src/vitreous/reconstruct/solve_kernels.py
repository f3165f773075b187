"""Native CPU kernels of the quotient of a back-projection; :mod:`vitreous.reconstruct.backprojection` has plain twins.

The sums are those of a :class:`~vitreous.physics.slices.SliceAccumulator`: ``[t, g, g, h, 3]`` with real part,
imaginary part and weight, zero frequency at ``(centre, centre, 0)``, Friedel mates on the plane ``kx = 0`` not added
yet.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

# Compiled code cannot carry the run-time shape checks of the tests: hence no_type_check.
_OPTIONS = {"cache": True, "nogil": True, "fastmath": True}


@njit(parallel=True, **_OPTIONS)
@no_type_check
def shell_weight_kernel(sums, padding, out):
    """Sum weights and count voxels of every plane in each shell, ``out [2, g, s + 1]``; the last shell takes the rest.

    A shell is unpadded: padded radius over padding, rounded.
    """
    copies, g, _, h, _ = sums.shape
    centre, beyond = g // 2, out.shape[2] - 1
    for z in prange(g):
        for y in range(g):
            flat = np.float32((z - centre) ** 2 + (y - centre) ** 2)
            for x in range(h):
                shell = min(int(np.sqrt(flat + np.float32(x * x)) / padding + np.float32(0.5)), beyond)
                total = 0.0
                for copy in range(copies):
                    total += sums[copy, z, y, x, 2]
                out[0, z, shell] += total + total if x == 0 else total
                out[1, z, shell] += 1.0


@njit(parallel=True, **_OPTIONS)
@no_type_check
def quotient_kernel(sums, added, padding, out):
    """Numerator over denominator plus ``added [s]``, zero beyond the last shell, into ``out [n, n, h, 2]``.

    ``out`` is in the order of the discrete Fourier transform on its first two axes.
    """
    copies, g, _, h, _ = sums.shape
    n, centre, shells = len(out), g // 2, len(added)
    for i in prange(n):
        z = i + centre if i < n - n // 2 else i - n + centre
        for j in range(n):
            y = j + centre if j < n - n // 2 else j - n + centre
            flat = np.float32((z - centre) ** 2 + (y - centre) ** 2)
            for x in range(h):
                shell = int(np.sqrt(flat + np.float32(x * x)) / padding + np.float32(0.5))
                re, im, weight = np.float32(0.0), np.float32(0.0), np.float32(0.0)
                if shell < shells:
                    for copy in range(copies):
                        re += sums[copy, z, y, x, 0]
                        im += sums[copy, z, y, x, 1]
                        weight += sums[copy, z, y, x, 2]
                        if x == 0:
                            re += sums[copy, g - 1 - z, g - 1 - y, 0, 0]
                            im -= sums[copy, g - 1 - z, g - 1 - y, 0, 1]
                            weight += sums[copy, g - 1 - z, g - 1 - y, 0, 2]
                    weight += added[shell]
                if weight > 0:
                    out[i, j, x, 0] = re / weight
                    out[i, j, x, 1] = im / weight
                else:
                    out[i, j, x, 0] = np.float32(0.0)
                    out[i, j, x, 1] = np.float32(0.0)
