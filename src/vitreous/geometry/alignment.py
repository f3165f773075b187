"""Alignment of two pose sets that describe the same images.

Poses are known up to one rotation of the particle's frame, one translation of it and the hand. All of it is removed
here, against outliers: the rotation comes from many one-particle guesses and a trimmed Procrustes fit.
"""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from vitreous.errors import InputError
from vitreous.geometry.planar_maps import nearest_rotations
from vitreous.geometry.rotations import mirror_rotations, rotation_angle_deg
from vitreous.geometry.symmetry import PointGroup, nearest_mates
from vitreous.typing import Float, Rotations, Shifts

_GUESSES = 300
_JUDGES = 2000
_FINALISTS = 3
_LARGE_CHORD = 1.0
"""Frobenius error (41°) from which a pose counts as wrong, however wrong."""


@dataclass(frozen=True)
class PoseAlignment:
    """How an estimated pose set maps onto the truth, and what is left.

    Attributes
    ----------
    rotation
        ``Q`` [3, 3]: a point r of the estimate's (mirrored, where ``mirrored``) frame lies at ``Q @ r + t`` in the
        truth's. The estimate's poses in the truth's frame are ``R @ Q.T``, or ``J @ R @ J @ Q.T``.
    mirrored
        Whether the estimate has the opposite hand.
    translation_A
        ``t`` [3], ``(x, y, z)`` in Å; zero where no shifts were given.
    rotations
        The estimate's poses in the truth's frame.
    errors_deg
        Angle to the truth (to its nearest symmetry mate), per particle.
    shift_errors_A
        Estimated minus true shift ``[n, 2]`` after removing the translation; zero where no shifts were given.
    """

    rotation: Float[Tensor, "3 3"]
    mirrored: bool
    translation_A: Float[Tensor, " 3"]
    rotations: Rotations
    errors_deg: Float[Tensor, " n"]
    shift_errors_A: Shifts


def align_poses(
    estimates: Rotations,
    truths: Float[Tensor, "m 3 3"],
    shift_differences_A: Shifts | None = None,
    *,
    group: PointGroup | None = None,
    allow_mirror: bool = True,
) -> PoseAlignment:
    """Find the rotation, hand and translation that bring an estimated pose set closest to the truth.

    Minimises a trimmed chordal error ``‖R Qᵀ − R_true‖`` (Kabsch with the determinant), so that a minority of wrong
    poses does not matter. Deterministic.

    Parameters
    ----------
    estimates, truths
        Rotations ``[n, 3, 3]`` of the same particles in the same order.
    shift_differences_A
        Estimated minus true shifts ``[n, 2]``.
    group
        Point group of the truth; any symmetry mate of the truth counts as right.
    allow_mirror
        Whether the estimate may have the opposite hand.

    Raises
    ------
    InputError
        If the pose sets are empty or differ in length.
    """
    if len(estimates) != len(truths) or len(estimates) == 0:
        raise InputError(
            "two pose sets cannot be aligned",
            expected="the same number of poses, at least one",
            found=f"{len(estimates)} and {len(truths)}",
            remedy="Match the particles on their ids first",
        )
    mates = torch.eye(3, dtype=torch.float64)[None] if group is None else group.double().cpu()
    Y = truths.double().cpu()
    hands = [estimates.double().cpu()]
    if allow_mirror:
        hands.append(mirror_rotations(hands[0]))
    fits = [_fit_rotation(X, Y, mates) for X in hands]
    mirrored = len(fits) == 2 and fits[1][0] < fits[0][0]
    Q = fits[mirrored][1]
    aligned = hands[mirrored] @ Q.T
    nearest = nearest_mates(aligned, Y, mates)
    shifts = torch.zeros(len(Y), 2) if shift_differences_A is None else shift_differences_A.double().cpu()
    translation, left = _remove_translation(aligned, shifts, _inliers(_chords(aligned, nearest)))
    dtype = truths.dtype
    return PoseAlignment(
        rotation=Q.to(dtype),
        mirrored=mirrored,
        translation_A=translation.to(dtype),
        rotations=aligned.to(dtype),
        errors_deg=rotation_angle_deg(aligned, nearest).to(dtype),
        shift_errors_A=left.to(dtype),
    )


def nearest_rotation(matrix: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    """Rotation nearest to a matrix in the Frobenius norm, never a reflection (Kabsch 1976)."""
    return nearest_rotations(matrix)


def _fit_rotation(X: Tensor, Y: Tensor, mates: Tensor) -> tuple[float, Tensor]:
    """Return the robust cost and ``Q`` of the best fit of ``X @ Q.T`` to ``Y``."""
    fits = [_trimmed_procrustes(X, Y, mates, Q) for Q in _good_guesses(X, Y, mates)]
    return min(fits, key=lambda fit: fit[0])


def _good_guesses(X: Tensor, Y: Tensor, mates: Tensor) -> Tensor:
    """Let single particles propose ``Q = Yᵀ X`` and a random subset judge the proposals."""
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    guesses = Y[order[:_GUESSES]].transpose(-1, -2) @ X[order[:_GUESSES]]
    judges = order[-_JUDGES:]
    relative = Y[judges].transpose(-1, -2) @ X[judges]
    by_mate = (mates.transpose(-1, -2)[:, None] @ relative).flatten(-2)  # gᵀ Yᵀ X, [g, judges, 9]
    overlap = reduce(torch.maximum, (mate @ guesses.flatten(-2).T for mate in by_mate))
    cost = (6 - 2 * overlap).clamp_min(0).sqrt().clamp_max(_LARGE_CHORD).mean(0)
    return guesses[torch.argsort(cost, stable=True)[:_FINALISTS]]


def _trimmed_procrustes(X: Tensor, Y: Tensor, mates: Tensor, Q: Tensor) -> tuple[float, Tensor]:
    """Alternate between choosing mates and inliers, and fitting the rotation to them."""
    for _ in range(10):
        nearest = nearest_mates(X @ Q.T, Y, mates)
        kept = _inliers(_chords(X @ Q.T, nearest))
        Q = nearest_rotation(torch.einsum("nji,njk->ik", nearest[kept], X[kept]))
    chords = _chords(X @ Q.T, nearest_mates(X @ Q.T, Y, mates))
    return float(chords.clamp_max(_LARGE_CHORD).mean()), Q


def _chords(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).flatten(-2).norm(dim=-1)


def _inliers(chords: Tensor) -> Tensor:
    """Keep what lies within 2.5 medians (99.9 % of Gaussian errors), the median taken over poses that are not wrong."""
    plausible = chords[chords <= _LARGE_CHORD]
    scale = (plausible if len(plausible) else chords).median()
    return chords <= 2.5 * scale.clamp_min(1e-6)


def _remove_translation(R: Tensor, shifts: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Fit ``shift = (R t)_xy`` to the kept particles by least squares; return t and what is left of all shifts."""
    rows = R[kept][:, :2].reshape(-1, 3)
    t = torch.linalg.pinv(rows.T @ rows, rtol=1e-9, hermitian=True) @ (rows.T @ shifts[kept].double().reshape(-1))
    return t, shifts - (R @ t)[:, :2]
