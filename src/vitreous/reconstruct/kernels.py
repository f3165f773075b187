"""Native CPU kernel of Gauss–Newton pose refinement; :mod:`vitreous.reconstruct.gauss_newton` holds its plain twin."""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

# Compiled code cannot carry the run-time shape checks of the tests: hence no_type_check.
_OPTIONS = {"cache": True, "nogil": True, "fastmath": True}

MAX_ROTATION_STEP_RAD = 0.15
MAX_SHIFT_STEP_PX = 1.0


@njit(**_OPTIONS)
@no_type_check
def _phase_tables(shift, step, tables):
    """Fill ``tables [2, 2·h + 1, 2]`` with ``exp(i·step·k·t)`` for both axes, k = −h … h."""
    half = tables.shape[1] // 2
    for axis in range(2):
        for k in range(-half, half + 1):
            angle = step * k * shift[axis]
            tables[axis, k + half, 0] = math.cos(angle)
            tables[axis, k + half, 1] = math.sin(angle)


@njit(**_OPTIONS)
@no_type_check
def _linearise(grid, rotation, k, padding, step, data, tables, jacobian):
    """Fill ``jacobian [14, k]`` at one pose and return the cost.

    Rows 0–9 are real and imaginary parts of the slice's derivatives by three rotations (about lab x, y, z, applied on
    the left) and two shifts; rows 10–11 the residual ``C²P − YC``; row 12 the weight ``C²/σ²`` and row 13 ``1/σ²``.
    """
    yc, c2, inverse_noise = data
    kx, ky = k
    centre, half = grid.shape[0] // 2, tables.shape[1] // 2
    one = np.float32(1.0)
    cost = 0.0
    for j in range(len(kx)):
        x = padding * (rotation[0, 0] * kx[j] + rotation[1, 0] * ky[j])
        y = padding * (rotation[0, 1] * kx[j] + rotation[1, 1] * ky[j])
        z = padding * (rotation[0, 2] * kx[j] + rotation[1, 2] * ky[j])
        sign = one
        if x < 0:
            x, y, z, sign = -x, -y, -z, -one
        x0, y0, z0 = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
        fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
        p, q = np.float32(0.0), np.float32(0.0)
        ax, bx, ay, by, az, bz = p, p, p, p, p, p
        for dz in range(2):
            wz, sz = (fz, one) if dz else (one - fz, -one)
            for dy in range(2):
                wy, sy = (fy, one) if dy else (one - fy, -one)
                row = grid[z0 + dz + centre, y0 + dy + centre]
                re = (one - fx) * row[x0, 0] + fx * row[x0 + 1, 0]
                im = (one - fx) * row[x0, 1] + fx * row[x0 + 1, 1]
                p += wz * wy * re
                q += wz * wy * im
                ax += wz * wy * (row[x0 + 1, 0] - row[x0, 0])
                bx += wz * wy * (row[x0 + 1, 1] - row[x0, 1])
                ay += wz * sy * re
                by += wz * sy * im
                az += sz * wy * re
                bz += sz * wy * im
        # The slice at a flipped coordinate is conj F(−q): its value's imaginary part and its slope's real part turn.
        q *= sign
        s, c = padding * sign, padding
        gx = s * (rotation[0, 0] * ax + rotation[0, 1] * ay + rotation[0, 2] * az)
        gy = s * (rotation[1, 0] * ax + rotation[1, 1] * ay + rotation[1, 2] * az)
        gz = s * (rotation[2, 0] * ax + rotation[2, 1] * ay + rotation[2, 2] * az)
        hx = c * (rotation[0, 0] * bx + rotation[0, 1] * by + rotation[0, 2] * bz)
        hy = c * (rotation[1, 0] * bx + rotation[1, 1] * by + rotation[1, 2] * bz)
        hz = c * (rotation[2, 0] * bx + rotation[2, 1] * by + rotation[2, 2] * bz)
        jacobian[0, j], jacobian[1, j] = -ky[j] * gz, -ky[j] * hz
        jacobian[2, j], jacobian[3, j] = kx[j] * gz, kx[j] * hz
        jacobian[4, j], jacobian[5, j] = ky[j] * gx - kx[j] * gy, ky[j] * hx - kx[j] * hy
        jacobian[6, j], jacobian[7, j] = step * kx[j] * q, -step * kx[j] * p
        jacobian[8, j], jacobian[9, j] = step * ky[j] * q, -step * ky[j] * p
        ix, iy = np.int32(kx[j]) + half, np.int32(ky[j]) + half
        cos = tables[0, ix, 0] * tables[1, iy, 0] - tables[0, ix, 1] * tables[1, iy, 1]
        sin = tables[0, ix, 0] * tables[1, iy, 1] + tables[0, ix, 1] * tables[1, iy, 0]
        u = yc[j, 0] * cos - yc[j, 1] * sin
        v = yc[j, 0] * sin + yc[j, 1] * cos
        w = inverse_noise[j]
        jacobian[10, j], jacobian[11, j] = c2[j] * p - u, c2[j] * q - v
        jacobian[12, j], jacobian[13, j] = c2[j] * w, w
        cost += w * (c2[j] * (p * p + q * q) - 2 * (u * p + v * q))
    return cost


@njit(**_OPTIONS)
@no_type_check
def _normal_equations(jacobian, matrix, gradient):
    """Contract the rows of :func:`_linearise` into the 5 × 5 Gauss–Newton system."""
    n = jacobian.shape[1]
    for a in range(5):
        total = 0.0
        for j in range(n):
            inner = jacobian[2 * a, j] * jacobian[10, j] + jacobian[2 * a + 1, j] * jacobian[11, j]
            total += jacobian[13, j] * inner
        gradient[a] = total
        for b in range(a + 1):
            total = 0.0
            for j in range(n):
                inner = jacobian[2 * a, j] * jacobian[2 * b, j] + jacobian[2 * a + 1, j] * jacobian[2 * b + 1, j]
                total += jacobian[12, j] * inner
            matrix[a, b] = total
            matrix[b, a] = total


@njit(**_OPTIONS)
@no_type_check
def _turned(rotation, w, out):
    """``out = exp([w]×) · rotation`` (Rodrigues)."""
    angle = math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    s = math.sin(angle) / angle if angle > 1e-8 else 1.0
    c = (1 - math.cos(angle)) / (angle * angle) if angle > 1e-8 else 0.5
    for column in range(3):
        v0, v1, v2 = rotation[0, column], rotation[1, column], rotation[2, column]
        x0, x1, x2 = w[1] * v2 - w[2] * v1, w[2] * v0 - w[0] * v2, w[0] * v1 - w[1] * v0
        y0, y1, y2 = w[1] * x2 - w[2] * x1, w[2] * x0 - w[0] * x2, w[0] * x1 - w[1] * x0
        out[0, column] = v0 + s * x0 + c * y0
        out[1, column] = v1 + s * x1 + c * y1
        out[2, column] = v2 + s * x2 + c * y2


@njit(**_OPTIONS)
@no_type_check
def _damped_step(matrix, gradient, damping, out):
    """Levenberg step, clipped to what a linearisation can be trusted with."""
    system = matrix.copy()
    for a in range(5):
        system[a, a] += damping * matrix[a, a] + 1e-6
    out[:] = -np.linalg.solve(system, gradient)
    turn = math.sqrt(out[0] ** 2 + out[1] ** 2 + out[2] ** 2)
    move = math.sqrt(out[3] ** 2 + out[4] ** 2)
    if turn > MAX_ROTATION_STEP_RAD:
        out[:3] *= MAX_ROTATION_STEP_RAD / turn
    if move > MAX_SHIFT_STEP_PX:
        out[3:] *= MAX_SHIFT_STEP_PX / move


@njit(parallel=True, **_OPTIONS)
@no_type_check
def refine_kernel(grid, rotations, shifts, kx, ky, padding, step, yc, c2, inverse_noise, images, steps, costs):
    """Levenberg–Marquardt on ``rotations [n, 3, 3]`` and ``shifts [n, 2]`` in place; final costs into ``costs [n]``.

    Pose i is one of image ``images[i]``, a row of ``yc`` and ``c2``.
    """
    half = 0
    for j in range(len(kx)):
        half = max(half, int(abs(kx[j])), int(abs(ky[j])))
    for i in prange(len(rotations)):
        tables = np.empty((2, 2 * half + 1, 2), np.float32)
        jacobian = np.empty((14, len(kx)), np.float32)
        matrix, gradient, move = np.empty((5, 5)), np.empty(5), np.empty(5)
        trial = np.empty((3, 3), np.float32)
        trial_shift = np.empty(2, np.float32)
        data = (yc[images[i]], c2[images[i]], inverse_noise)
        damping = 1e-2
        _phase_tables(shifts[i], step, tables)
        best = _linearise(grid, rotations[i], (kx, ky), padding, step, data, tables, jacobian)
        _normal_equations(jacobian, matrix, gradient)
        for _ in range(steps):
            _damped_step(matrix, gradient, damping, move)
            _turned(rotations[i], move, trial)
            trial_shift[0], trial_shift[1] = shifts[i, 0] + move[3], shifts[i, 1] + move[4]
            _phase_tables(trial_shift, step, tables)
            cost = _linearise(grid, trial, (kx, ky), padding, step, data, tables, jacobian)
            if cost < best:
                best = cost
                rotations[i] = trial
                shifts[i] = trial_shift
                _normal_equations(jacobian, matrix, gradient)
                damping *= 0.3
            else:
                damping *= 8.0
        costs[i] = best
