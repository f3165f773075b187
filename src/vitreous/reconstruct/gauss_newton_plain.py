"""Gauss–Newton pose refinement in torch operations: the twin of the native kernel, and the path on a GPU."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.geometry.rotations import rotation_from_vector
from vitreous.physics.slices import FourierVolume
from vitreous.physics.slices_reference import neighbours
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.reconstruct.kernels import MAX_ROTATION_STEP_RAD, MAX_SHIFT_STEP_PX
from vitreous.reconstruct.target import Target
from vitreous.typing import Complex, Float, Int, Rotations, Shifts

_VALUES_AT_A_TIME = 3_000_000
"""Coefficients of poses that are linearised together; each takes about 300 bytes."""

Linearised = tuple[Float[Tensor, " n"], Float[Tensor, "n 5 5"], Float[Tensor, "n 5"]]


def refined_plain(
    target: Target, coefficients: Coefficients, pose: tuple[Rotations, Shifts], images: Int[Tensor, " n"], *, steps: int
) -> tuple[Rotations, Shifts, Float[Tensor, " n"]]:
    """Poses after some Levenberg–Marquardt steps, and their costs; all tensors on the device of the target.

    Pose i is one of image ``images[i]``, a row of the coefficients.
    """
    n = target.count
    chunk = max(1, _VALUES_AT_A_TIME // n)
    parts = []
    for rows in torch.arange(len(images), device=images.device).split(chunk):
        part = Coefficients(coefficients.yc[:, :n][images[rows]], coefficients.c2[:, :n][images[rows]])
        parts.append(_Model(target, part).refined(pose[0][rows], pose[1][rows], steps))
    rotations, shifts, costs = (torch.cat(column) for column in zip(*parts, strict=True))
    return rotations, shifts, costs


@dataclass(frozen=True)
class _Model:
    """Cost, Gauss–Newton matrix and gradient of one pose per image."""

    target: Target
    part: Coefficients

    def refined(
        self, rotations: Rotations, shifts_px: Shifts, steps: int
    ) -> tuple[Rotations, Shifts, Float[Tensor, " n"]]:
        """Take steps; one that raises the cost is undone and damped more."""
        R, t = rotations, shifts_px
        best, matrix, gradient = self._linearised(R, t)
        damping = torch.full_like(best, 1e-2)
        for _ in range(steps):
            step = _damped(matrix, gradient, damping).to(R.dtype)
            trial_R, trial_t = rotation_from_vector(step[:, :3]) @ R, t + step[:, 3:]
            cost, trial_matrix, trial_gradient = self._linearised(trial_R, trial_t)
            better = cost < best
            R, t = torch.where(better[:, None, None], trial_R, R), torch.where(better[:, None], trial_t, t)
            matrix = torch.where(better[:, None, None], trial_matrix, matrix)
            gradient = torch.where(better[:, None], trial_gradient, gradient)
            best = torch.where(better, cost, best)
            damping = torch.where(better, damping * 0.3, damping * 8)
        return R, t, best

    def _linearised(self, R: Rotations, t: Shifts) -> Linearised:
        n, disc, w = self.target.count, self.target.disc, self.target.inverse_noise
        kx, ky = (axis[:n].to(w) for axis in (disc.kx, disc.ky))
        slices, (gx, gy, gz) = _slices_and_slopes(self.target.volume, R, (kx, ky))
        wave = -2j * torch.pi / disc.box * slices
        jacobian = torch.view_as_real(torch.stack([-ky * gz, kx * gz, ky * gx - kx * gy, wave * kx, wave * ky], 1))
        moved, c2 = self.target.centred(self.part, t), self.part.c2[:, :n]
        residual = torch.view_as_real(c2 * slices - moved)
        cost = (w * (c2 * slices.abs().square() - 2 * (moved.conj() * slices).real)).sum(1, dtype=torch.float64)
        weighted = (jacobian * (c2 * w)[:, None, :, None]).flatten(2)
        matrix = weighted @ jacobian.flatten(2).transpose(1, 2)
        gradient = (jacobian.flatten(2) @ (residual * w[:, None]).flatten(1)[:, :, None])[..., 0]
        return cost, matrix.double(), gradient.double()


def _slices_and_slopes(
    volume: FourierVolume, rotations: Rotations, k: tuple[Tensor, Tensor]
) -> tuple[Complex[Tensor, "n k"], tuple[Complex[Tensor, "n k"], ...]]:
    """Trilinear slices, and their derivatives by the lab coordinates of the sample."""
    flat = torch.view_as_real(volume.grid).reshape(-1, 2)
    sums = torch.zeros(8, len(rotations), len(k[0]), device=flat.device)
    flip = torch.empty(0)
    for index, (x, y, z), slope, sign in neighbours(volume.grid.shape[0], rotations, k, float(volume.padding)):
        parts = flat[index].unbind(-1)
        for place, factor in enumerate((x * y * z, slope[0] * y * z, slope[1] * x * z, slope[2] * x * y)):
            sums[2 * place].addcmul_(factor, parts[0])
            sums[2 * place + 1].addcmul_(factor, parts[1])
        flip = sign
    # The slice at a flipped coordinate is conj F(−q): its value's imaginary part and its slope's real part turn.
    slopes = torch.complex(flip * sums[2::2], sums[3::2]).transpose(0, 1) * volume.padding
    return torch.complex(sums[0], flip * sums[1]), (rotations.to(slopes.dtype) @ slopes).unbind(1)


def _damped(
    matrix: Float[Tensor, "n 5 5"], gradient: Float[Tensor, "n 5"], damping: Float[Tensor, " n"]
) -> Float[Tensor, "n 5"]:
    """Levenberg steps, clipped to what a linearisation can be trusted with."""
    diagonal = matrix.diagonal(dim1=1, dim2=2) * damping[:, None] + 1e-6
    step = -torch.linalg.solve(matrix + torch.diag_embed(diagonal), gradient)
    turn, move = step[:, :3].norm(dim=1, keepdim=True), step[:, 3:].norm(dim=1, keepdim=True)
    turned = step[:, :3] * (MAX_ROTATION_STEP_RAD / turn).clamp_max(1)
    return torch.cat([turned, step[:, 3:] * (MAX_SHIFT_STEP_PX / move).clamp_max(1)], 1)
