"""Native CPU kernels of the Fourier-slice projector; :mod:`vitreous.physics.slices_reference` is their plain twin.

The grid holds ``F(kz, ky, kx)`` for ``kx ≥ 0``, interleaved as ``(re, im)`` or ``(re, im, weight)``, with index
``centre`` for zero on the first two axes. A sample with negative x is read at its Friedel mate.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

# Compiled code cannot carry the run-time shape checks of the tests: hence no_type_check.
_OPTIONS = {"cache": True, "nogil": True, "fastmath": True}


@njit(inline="always", **_OPTIONS)
@no_type_check
def _locate(rotation, kx, ky, padding):
    """Return the padded coordinates of ``Rᵀ(kx, ky, 0)`` on the half space x ≥ 0, and the sign of the flip."""
    x = padding * (rotation[0, 0] * kx + rotation[1, 0] * ky)
    y = padding * (rotation[0, 1] * kx + rotation[1, 1] * ky)
    z = padding * (rotation[0, 2] * kx + rotation[1, 2] * ky)
    if x < 0:
        return -x, -y, -z, np.float32(-1.0)
    return x, y, z, np.float32(1.0)


@njit(parallel=True, **_OPTIONS)
@no_type_check
def slice_kernel(grid, rotations, kx, ky, padding, out):
    """Interpolate ``grid [g, g, h, 2]`` trilinearly at every slice coordinate into ``out [n, k, 2]``."""
    centre = grid.shape[0] // 2
    one = np.float32(1.0)
    for i in prange(len(rotations)):
        rotation = rotations[i]
        for j in range(len(kx)):
            x, y, z, sign = _locate(rotation, kx[j], ky[j], padding)
            x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
            fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
            re = np.float32(0.0)
            im = np.float32(0.0)
            for dz in range(2):
                wz = fz if dz else one - fz
                for dy in range(2):
                    w = wz * (fy if dy else one - fy)
                    row = grid[z0 + dz + centre, y0 + dy + centre]
                    re += w * ((one - fx) * row[x0, 0] + fx * row[x0 + 1, 0])
                    im += w * ((one - fx) * row[x0, 1] + fx * row[x0 + 1, 1])
            out[i, j, 0] = re
            out[i, j, 1] = sign * im


@njit(parallel=True, **_OPTIONS)
@no_type_check
def insert_kernel(grids, rotations, kx, ky, padding, values, weights):
    """Adjoint of :func:`slice_kernel`: add ``values [n, k, 2]`` and ``weights [n, k]`` to ``grids [t, g, g, h, 3]``.

    Slices are dealt to the ``t`` grids, one thread each, so that no two threads write to the same place.
    """
    copies = len(grids)
    centre = grids.shape[1] // 2
    one = np.float32(1.0)
    for copy in prange(copies):
        grid = grids[copy]
        for i in range(copy, len(rotations), copies):
            rotation = rotations[i]
            for j in range(len(kx)):
                x, y, z, sign = _locate(rotation, kx[j], ky[j], padding)
                x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
                fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
                re, im, weight = values[i, j, 0], sign * values[i, j, 1], weights[i, j]
                for dz in range(2):
                    wz = fz if dz else one - fz
                    for dy in range(2):
                        w = wz * (fy if dy else one - fy)
                        row = grid[z0 + dz + centre, y0 + dy + centre]
                        left, right = w * (one - fx), w * fx
                        row[x0, 0] += left * re
                        row[x0, 1] += left * im
                        row[x0, 2] += left * weight
                        row[x0 + 1, 0] += right * re
                        row[x0 + 1, 1] += right * im
                        row[x0 + 1, 2] += right * weight


@njit(parallel=True, **_OPTIONS)
@no_type_check
def rotation_gradient_kernel(grid, rotations, kx, ky, padding, upstream, out):
    """Gradient of ``Re⟨upstream, slices⟩`` with respect to the rotation matrices, ``out [n, 3, 3]`` (row 2 is zero)."""
    centre = grid.shape[0] // 2
    one = np.float32(1.0)
    for i in prange(len(rotations)):
        rotation = rotations[i]
        for j in range(len(kx)):
            x, y, z, sign = _locate(rotation, kx[j], ky[j], padding)
            x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
            fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
            u, v = upstream[i, j, 0], sign * upstream[i, j, 1]
            gx, gy, gz = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for dz in range(2):
                wz, sz = (fz, one) if dz else (one - fz, -one)
                for dy in range(2):
                    wy, sy = (fy, one) if dy else (one - fy, -one)
                    row = grid[z0 + dz + centre, y0 + dy + centre]
                    left = u * row[x0, 0] + v * row[x0, 1]
                    right = u * row[x0 + 1, 0] + v * row[x0 + 1, 1]
                    along = (one - fx) * left + fx * right
                    gx += wz * wy * (right - left)
                    gy += wz * sy * along
                    gz += sz * wy * along
            scale_x, scale_y = padding * sign * kx[j], padding * sign * ky[j]
            out[i, 0, 0] += scale_x * gx
            out[i, 0, 1] += scale_x * gy
            out[i, 0, 2] += scale_x * gz
            out[i, 1, 0] += scale_y * gx
            out[i, 1, 1] += scale_y * gy
            out[i, 1, 2] += scale_y * gz


@njit(parallel=True, **_OPTIONS)
@no_type_check
def basis_slice_kernel(grids, coefficients, rotations, kx, ky, padding, out):
    """Interpolate ``Σ_m coefficients[i, m]·grids[…, m]`` of ``grids [g, g, h, m, 2]`` into ``out [n, k, 2]``."""
    centre = grids.shape[0] // 2
    maps = grids.shape[3]
    one = np.float32(1.0)
    for i in prange(len(rotations)):
        rotation, shares = rotations[i], coefficients[i]
        for j in range(len(kx)):
            x, y, z, sign = _locate(rotation, kx[j], ky[j], padding)
            x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
            fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
            re = np.float32(0.0)
            im = np.float32(0.0)
            for dz in range(2):
                wz = fz if dz else one - fz
                for dy in range(2):
                    w = wz * (fy if dy else one - fy)
                    row = grids[z0 + dz + centre, y0 + dy + centre]
                    left, right = w * (one - fx), w * fx
                    for m in range(maps):
                        re += shares[m] * (left * row[x0, m, 0] + right * row[x0 + 1, m, 0])
                        im += shares[m] * (left * row[x0, m, 1] + right * row[x0 + 1, m, 1])
            out[i, j, 0] = re
            out[i, j, 1] = sign * im


@njit(**_OPTIONS)
@no_type_check
def basis_gradient_kernel(grids, coefficients, rotations, kx, ky, padding, upstream, grids_out, coefficients_out):
    """Gradients of ``Re⟨upstream, slices⟩``: for the grids the adjoint of the slices, for the coefficients products."""
    centre = grids.shape[0] // 2
    maps = grids.shape[3]
    one = np.float32(1.0)
    for i in range(len(rotations)):
        rotation, shares, found = rotations[i], coefficients[i], coefficients_out[i]
        for j in range(len(kx)):
            x, y, z, sign = _locate(rotation, kx[j], ky[j], padding)
            x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
            fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
            u, v = upstream[i, j, 0], sign * upstream[i, j, 1]
            for dz in range(2):
                wz = fz if dz else one - fz
                for dy in range(2):
                    w = wz * (fy if dy else one - fy)
                    row = grids[z0 + dz + centre, y0 + dy + centre]
                    out = grids_out[z0 + dz + centre, y0 + dy + centre]
                    for dx in range(2):
                        weight = w * (fx if dx else one - fx)
                        at, wu, wv = x0 + dx, weight * u, weight * v
                        for m in range(maps):
                            found[m] += wu * row[at, m, 0] + wv * row[at, m, 1]
                            out[at, m, 0] += shares[m] * wu
                            out[at, m, 1] += shares[m] * wv


@njit(parallel=True, **_OPTIONS)
@no_type_check
def linear_insert_kernel(sums, rows, rotations, kx, ky, padding, samples, first, second, parts):
    """Add ``first[i, m]·value`` and ``second[i, t]·weight`` of every sample ``samples [n, k, 3]`` to its eight rows.

    ``sums [voxels, 2·maps + pairs]`` have the real parts of all maps first, then the imaginary parts, then the weights
    of the pairs; ``rows [g, g, h]`` says where a voxel's are. Each thread adds to a part of the sums of every voxel, so
    that no two write to the same place and the order in which numbers are added is that of the samples.
    """
    maps, pairs = first.shape[1], second.shape[1]
    centre = rows.shape[0] // 2
    one = np.float32(1.0)
    for part in prange(parts):
        begin, end = part * (2 * maps + pairs) // parts, (part + 1) * (2 * maps + pairs) // parts
        factors, sample = np.empty(2 * maps + pairs, np.float32), np.empty(end - begin, np.float32)
        for i in range(len(rotations)):
            rotation = rotations[i]
            factors[:maps], factors[maps : 2 * maps], factors[2 * maps :] = first[i], first[i], second[i]
            for j in range(len(kx)):
                x, y, z, sign = _locate(rotation, kx[j], ky[j], padding)
                x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
                fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
                re, im, weight = samples[i, j, 0], sign * samples[i, j, 1], samples[i, j, 2]
                for c in range(begin, end):
                    sample[c - begin] = factors[c] * (re if c < maps else (im if c < 2 * maps else weight))
                for dz in range(2):
                    wz = fz if dz else one - fz
                    for dy in range(2):
                        wy = wz * (fy if dy else one - fy)
                        for dx in range(2):
                            w = wy * (fx if dx else one - fx)
                            out = sums[rows[z0 + dz + centre, y0 + dy + centre, x0 + dx], begin:end]
                            for c in range(end - begin):
                                out[c] += w * sample[c]
