"""Gauss–Newton refinement of three rotations and two shifts per image against a map.

Minimises ``Σ (C²·|P|² − 2·Re⟨Y·C·e^{+ik·t}, P⟩) / σ²`` with analytic derivatives of the trilinear slice. A rotation
step w acts on the left, ``R ← exp([w]×)·R``, which moves the slice coordinate by ``Rᵀ(k × w)``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitreous.reconstruct import kernels
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.reconstruct.gauss_newton_plain import refined_plain
from vitreous.reconstruct.target import Target
from vitreous.typing import Float, Int, Rotations, Shifts


@dataclass(frozen=True)
class RefinedPoses:
    """Poses with their cost, the negative log-likelihood up to a constant per image."""

    rotations: Rotations
    shifts_px: Shifts
    costs: Float[Tensor, " n"]

    def to(self, device: torch.device) -> "RefinedPoses":
        """All in the memory of a device."""
        return RefinedPoses(*(values.to(device) for values in (self.rotations, self.shifts_px, self.costs)))


def pose_costs(
    target: Target, coefficients: Coefficients, rotations: Rotations, shifts_px: Shifts
) -> Float[Tensor, " n"]:
    """Cost of given poses; differentiable in rotations and shifts."""
    slices = target.slices(rotations)
    cross = (target.centred(coefficients, shifts_px).conj() * slices).real
    return ((coefficients.c2[:, : target.count] * slices.abs().square() - 2 * cross) * target.inverse_noise).sum(1)


def refine_poses(
    target: Target,
    coefficients: Coefficients,
    rotations: Rotations,
    shifts_px: Shifts,
    *,
    steps: int = 3,
    images: Int[Tensor, " n"] | None = None,
) -> RefinedPoses:
    """Take Levenberg–Marquardt steps; a step that raises the cost is undone and damped more.

    ``images`` says which row of the coefficients each pose belongs to; one pose for every row by default. Steps are
    taken where the target is, by torch operations on a GPU; the poses come back in the CPU's memory.
    """
    n = target.count
    owners = torch.arange(len(rotations)) if images is None else images
    if target.device.type != "cpu":
        part = coefficients.to(target.device)
        pose = (rotations.float().to(target.device), shifts_px.float().to(target.device))
        found = refined_plain(target, part, pose, owners.to(target.device), steps=steps)
        return RefinedPoses(*(column.float().cpu() for column in found))
    turned, moved = rotations.float().clone().contiguous(), shifts_px.float().clone().contiguous()
    costs = torch.empty(len(turned), dtype=torch.float64)
    yc = torch.view_as_real(coefficients.yc[:, :n].resolve_conj().contiguous()).numpy()
    c2 = coefficients.c2[:, :n].contiguous().numpy()
    k = (target.disc.kx[:n].contiguous().numpy(), target.disc.ky[:n].contiguous().numpy())
    scale = (np.float32(target.volume.padding), np.float32(2 * math.pi / target.disc.box))
    grid = torch.view_as_real(target.volume.grid.contiguous()).numpy()
    noise = target.inverse_noise.contiguous().numpy()
    poses = (turned.numpy(), moved.numpy())
    kernels.refine_kernel(grid, *poses, *k, *scale, yc, c2, noise, owners.numpy(), steps, costs.numpy())
    return RefinedPoses(turned, moved, costs.float())
