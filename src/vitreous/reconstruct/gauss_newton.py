"""Gauss–Newton refinement of three rotations and two shifts per image against a map.

Minimises ``Σ (C²·|P|² − 2·Re⟨Y·C·e^{+ik·t}, P⟩) / σ²`` with analytic derivatives of the trilinear slice. A rotation
step w acts on the left, ``R ← exp([w]×)·R``, which moves the slice coordinate by ``Rᵀ(k × w)``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc
from vitreous.geometry.rotations import rotation_from_vector
from vitreous.physics.shifts import disc_phases
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct import kernels
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.typing import Float, Int, Rotations, Shifts


@dataclass(frozen=True)
class Target:
    """What poses are refined against: a map, the coefficients that count, and the noise.

    Attributes
    ----------
    volume
        Transform of the map, in units of unitary image coefficients.
    disc
        Disc of the images.
    inverse_noise
        ``1/σ²`` of each of the first k coefficients of the disc.
    """

    volume: FourierVolume
    disc: Disc
    inverse_noise: Float[Tensor, " k"]

    @property
    def count(self) -> int:
        """Number of coefficients used."""
        return len(self.inverse_noise)


@dataclass(frozen=True)
class RefinedPoses:
    """Poses with their cost, the negative log-likelihood up to a constant per image."""

    rotations: Rotations
    shifts_px: Shifts
    costs: Float[Tensor, " n"]


def pose_costs(
    target: Target, coefficients: Coefficients, rotations: Rotations, shifts_px: Shifts
) -> Float[Tensor, " n"]:
    """Cost of given poses; differentiable in rotations and shifts."""
    n = target.count
    slices = target.volume.sample(rotations, target.disc.kx[:n].contiguous(), target.disc.ky[:n].contiguous())
    data = coefficients.yc[:, :n] * disc_phases(-shifts_px, target.disc, n)
    cross = (data.conj() * slices).real
    return ((coefficients.c2[:, :n] * slices.abs().square() - 2 * cross) * target.inverse_noise).sum(1)


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

    ``images`` says which row of the coefficients each pose belongs to; one pose for every row by default.
    """
    n = target.count
    owners = torch.arange(len(rotations)) if images is None else images
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


def refine_poses_plain(
    target: Target, coefficients: Coefficients, rotations: Rotations, shifts_px: Shifts, *, steps: int = 3
) -> RefinedPoses:
    """Plain twin of :func:`refine_poses`: the same steps, with derivatives by automatic differentiation."""
    R, t = rotations.clone(), shifts_px.clone()
    damping = torch.full((len(R),), 1e-2)
    best = pose_costs(target, coefficients, R, t)
    for _ in range(steps):
        step = _damped_steps(target, coefficients, (R, t), damping)
        trial_R, trial_t = rotation_from_vector(step[:, :3]) @ R, t + step[:, 3:]
        cost = pose_costs(target, coefficients, trial_R, trial_t)
        better = cost < best
        R = torch.where(better[:, None, None], trial_R, R)
        t = torch.where(better[:, None], trial_t, t)
        best = torch.where(better, cost, best)
        damping = torch.where(better, damping * 0.3, damping * 8)
    return RefinedPoses(R, t, best)


def _damped_steps(
    target: Target, coefficients: Coefficients, pose: tuple[Rotations, Shifts], damping: Float[Tensor, " n"]
) -> Float[Tensor, "n 5"]:
    n = target.count
    k = (target.disc.kx[:n].contiguous(), target.disc.ky[:n].contiguous())
    R, t = pose

    def model(parameters: Tensor) -> Tensor:
        slices = target.volume.sample(rotation_from_vector(parameters[:, :3]) @ R, *k)
        return torch.view_as_real(slices * disc_phases(parameters[:, 3:], target.disc, n))

    zero = torch.zeros(len(R), 5, requires_grad=True)
    at_zero = model(zero)
    columns = []
    for k_index in range(n):
        for part in range(2):
            (row,) = torch.autograd.grad(at_zero[:, k_index, part].sum(), zero, retain_graph=True)
            columns.append(row)
    jacobian = torch.stack(columns, 1).view(len(R), n, 2, 5).double()
    data = torch.view_as_real(coefficients.yc[:, :n] * disc_phases(-t, target.disc, n))
    weight = (coefficients.c2[:, :n] * target.inverse_noise).double()
    residual = coefficients.c2[:, :n, None] * at_zero.detach() - data
    matrix = torch.einsum("nk,nkpa,nkpb->nab", weight, jacobian, jacobian)
    gradient = torch.einsum("k,nkpa,nkp->na", target.inverse_noise.double(), jacobian, residual.double())
    diagonal = matrix.diagonal(dim1=1, dim2=2) * damping[:, None] + 1e-6
    step = -torch.linalg.solve(matrix + torch.diag_embed(diagonal), gradient)
    turn, move = step[:, :3].norm(dim=1, keepdim=True), step[:, 3:].norm(dim=1, keepdim=True)
    turned = step[:, :3] * (kernels.MAX_ROTATION_STEP_RAD / turn).clamp_max(1)
    moved = step[:, 3:] * (kernels.MAX_SHIFT_STEP_PX / move).clamp_max(1)
    return torch.cat([turned, moved], 1).float()
