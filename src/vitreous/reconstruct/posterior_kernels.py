"""Native CPU kernels of the E-step; :mod:`vitreous.reconstruct.expectation` holds their plain twins.

They take the matrix product ``cross [m, t, r] = Re⟨Y·C·phase, P⟩`` and ``norms [m, r] = ⟨C², |P|²⟩`` and never write an
array of that size: only poses near the best one are exponentiated, and only those that carry weight are summed.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit

# Compiled code cannot carry the run-time shape checks of the tests: hence no_type_check.
_OPTIONS = {"cache": True, "nogil": True, "fastmath": True}

LOG_CUT = 16.0
"""Poses whose weight is below e⁻¹⁶ of the best one's are left out."""

WEIGHT_CUT = 1e-4
"""Poses with less than this share of an image's weight are not summed; the rest is scaled up to make it good."""

FLAT_CUT = 0.1
"""Poses with at least this share of the best one's weight are always summed: a flat posterior has nothing else."""

FLAT_SHARE = 0.05
"""Share of the poses, all with weight, from which a matrix product over all of them is faster."""


@njit(**_OPTIONS)
@no_type_check
def _peak(cross, norm):
    """Largest ``2·cross − norm`` over shifts and rotations."""
    peak = np.float32(-np.inf)
    for t in range(cross.shape[0]):
        row = cross[t]
        for r in range(len(norm)):
            value = np.float32(2.0) * row[r] - norm[r]
            peak = max(peak, value)
    return peak


@njit(**_OPTIONS)
@no_type_check
def _weights(cross, norm, peak, sharpness, indices, weights):
    """List poses near the peak and their unnormalised weights; return how many, Σw, Σw² and the best pose."""
    floor = peak - np.float32(LOG_CUT / sharpness)
    count, best = 0, 0
    total, squares = 0.0, 0.0
    n_rotations = len(norm)
    for t in range(cross.shape[0]):
        row = cross[t]
        for r in range(n_rotations):
            value = np.float32(2.0) * row[r] - norm[r]
            if value > floor:
                w = math.exp(sharpness * (value - peak))
                if value >= peak:
                    best = t * n_rotations + r
                indices[count] = t * n_rotations + r
                weights[count] = w
                total += w
                squares += w * w
                count += 1
    return count, total, squares, best


@njit(**_OPTIONS)
@no_type_check
def accumulate_kernel(cross, norms, sharpness, copies, c2, sums, summary):
    """Posterior of every image, summed into ``sums = (values [r, 2k], weights [r, k], mass [r])``.

    ``summary = (best [m], effective [m], evidence [m], flat [m])`` receives each image's best pose (``t·r`` flattened),
    effective number of poses and log evidence. Images that fit a twentieth of the grid are flat: they are left for a
    matrix product, which does not mind how many poses there are.
    """
    values, weights_out, mass = sums
    best, effective, evidence, flat = summary
    images, shifts, rotations = cross.shape
    indices = np.empty(shifts * rotations, np.int32)
    weights = np.empty(shifts * rotations, np.float32)
    for i in range(images):
        peak = _peak(cross[i], norms[i])
        count, total, squares, top = _weights(cross[i], norms[i], peak, sharpness, indices, weights)
        best[i], effective[i], evidence[i] = top, total * total / squares, sharpness * peak + math.log(total)
        cut = np.float32(min(WEIGHT_CUT * total, FLAT_CUT))
        kept, poses = 0.0, 0
        for j in range(count):
            if weights[j] >= cut:
                kept += weights[j]
                poses += 1
        flat[i] = poses > FLAT_SHARE * shifts * rotations
        if flat[i]:
            continue
        scale = np.float32(1.0 / kept)
        for j in range(count):
            if weights[j] < cut:
                continue
            w = weights[j] * scale
            t, r = indices[j] // rotations, indices[j] % rotations
            source, target = copies[i * shifts + t], values[r]
            for k in range(len(source)):
                target[k] += w * source[k]
            source, target = c2[i], weights_out[r]
            for k in range(len(source)):
                target[k] += w * source[k]
            mass[r] += w


@njit(**_OPTIONS)
@no_type_check
def candidates_kernel(cross, norms, margin, found, summary):
    """Find the best rotations of every image, each with its best shift, that score close to the best of all.

    ``margin = (nats, share)``: a rotation is listed if it falls short of the peak by at most ``nats`` and that share
    of the peak's own score, which is its gain over an empty map. ``found = (rotation [m, c], shift [m, c],
    count [m])``, best first. ``summary = (probability [m], effective [m], evidence [m])``: weight of the best pose,
    effective number of poses, log evidence.
    """
    rotation_index, shift_index, counts = found
    probability, effective, evidence = summary
    images, shifts, rotations = cross.shape
    indices = np.empty(shifts * rotations, np.int32)
    weights = np.empty(shifts * rotations, np.float32)
    score = np.empty(rotations, np.float32)
    near = np.empty(rotations, np.int64)
    for i in range(images):
        peak = _peak(cross[i], norms[i])
        _, total, squares, _ = _weights(cross[i], norms[i], peak, 1.0, indices, weights)
        probability[i], effective[i], evidence[i] = 1 / total, total * total / squares, peak + math.log(total)
        score[:] = cross[i, 0]
        for t in range(1, shifts):
            for r in range(rotations):
                score[r] = max(score[r], cross[i, t, r])
        floor = peak - np.float32(margin[0] + margin[1] * max(peak, np.float32(0.0)))
        count = 0
        for r in range(rotations):
            score[r] = np.float32(2.0) * score[r] - norms[i, r]
            if score[r] >= floor:
                near[count] = r
                count += 1
        listed = near[:count]
        order = np.argsort(-score[listed])
        counts[i] = min(count, rotation_index.shape[1])
        for c in range(counts[i]):
            r = listed[order[c]]
            rotation_index[i, c], shift_index[i, c] = r, np.argmax(cross[i, :, r])


@njit(**_OPTIONS)
@no_type_check
def distinct_kernel(rotations, first, least_trace, keep):
    """Strike from ``keep [n]`` every rotation that lies near a better one of the same image that is kept.

    ``rotations [n, 3, 3]`` are in the order of the images, best first; ``first [n]`` is where a rotation's image
    begins. Two are near where the trace of their quotient is above ``least_trace``.
    """
    for c in range(len(rotations)):
        if not keep[c]:
            continue
        for better in range(first[c], c):
            if not keep[better]:
                continue
            trace = np.float32(0.0)
            for a in range(3):
                for b in range(3):
                    trace += rotations[c, a, b] * rotations[better, a, b]
            if trace > least_trace:
                keep[c] = False
                break
