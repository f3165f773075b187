"""One pose per particle from the frames of several references: rotation averaging with the hands made consistent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.geometry.alignment import align_poses
from vitreous.geometry.planar_maps import nearest_rotations
from vitreous.geometry.rotations import mirror_rotations, rotation_angle_deg
from vitreous.methods.fastar.placement import Placed
from vitreous.typing import Float, Rotations, Shifts

_ROUNDS = 3
_JUDGES = 1500


@dataclass(frozen=True)
class Fused:
    """Consensus over references.

    Attributes
    ----------
    rotations, shifts
        One per particle, in the frame of the consensus.
    confidences
        Mean over the references used.
    spread_deg
        Median angle between a particle's predictions and its consensus, over all references, the larger of two
        ``[n]``.
    weights
        Of every reference ``[m]``: its agreement with the others, zero where it was left out.
    """

    rotations: Rotations
    shifts: Shifts
    confidences: Float[Tensor, " n"]
    spread_deg: Float[Tensor, " n"]
    weights: Float[Tensor, " m"]


def fuse(placed: Placed) -> Fused:
    """Average the poses of several frames.

    The frame that agrees best with all others becomes the common one. Every frame is turned (and mirrored) onto it by
    a robust fit; frames that fit worse than half-way to chance are left out; a particle's rotation is the nearest to
    the mean of its matrices, weighted by confidence and by the frame's agreement (chordal mean, Hartley et al. 2013).
    """
    consensus = placed.rotations[_medoid(placed.rotations)]
    for _ in range(_ROUNDS):
        aligned, errors = _aligned(placed.rotations, consensus)
        agreement = (1 - errors / _CHANCE_DEG).clamp(0, 1)
        used = agreement >= min(0.5, float(agreement.max()))
        weights = torch.where(used, agreement, 0.0)
        shares = weights[:, None] * (placed.confidences - 1).clamp_min(1e-7)
        consensus = nearest_rotations((shares[..., None, None] * aligned).sum(0))
    shares = shares / shares.sum(0)
    angles = torch.stack([rotation_angle_deg(a, consensus) for a in aligned])
    return Fused(
        rotations=consensus,
        shifts=(shares[..., None] * placed.shifts).sum(0),
        confidences=placed.confidences[used].mean(0),
        spread_deg=angles.sort(0).values[len(angles) // 2],
        weights=weights,
    )


_CHANCE_DEG = 126.5
"""Median angle between two random rotations: (θ − sin θ)/π = ½ at 132°, mean 126.5°."""


def _medoid(rotations: Float[Tensor, "m n 3 3"]) -> int:
    """Return the frame whose alignments with all others leave the smallest errors."""
    m = len(rotations)
    some = rotations[:, torch.linspace(0, rotations.shape[1] - 1, min(_JUDGES, rotations.shape[1])).long()]
    errors = torch.zeros(m, m)
    for i in range(m):
        for j in range(i):
            errors[i, j] = errors[j, i] = align_poses(some[i], some[j]).errors_deg.median()
    return int(errors.sum(1).argmin())


def _aligned(rotations: Tensor, consensus: Tensor) -> tuple[Tensor, Tensor]:
    """Bring every frame onto the consensus; return rotations and median errors in degrees."""
    fits = [align_poses(frame, consensus) for frame in rotations]
    moved = []
    for frame, fit in zip(rotations, fits):
        handed = mirror_rotations(frame) if fit.mirrored else frame
        moved.append(handed @ fit.rotation.to(handed).T)
    return torch.stack(moved), torch.stack([fit.errors_deg.median() for fit in fits])
