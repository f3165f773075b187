"""The Fourier-slice projector: a padded transform, slices of it, and the exact adjoint.

By the projection theorem, the transform of a projection along lab z is the slice ``F(Rᵀ(kx, ky, 0))`` of the map's
transform. Slices are interpolated trilinearly on a transform oversampled by ``padding``; the map is divided by the
transform of the interpolation kernel, ``Π sinc²(x / (padding·n))``, first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitreous.compute.processes import current_share
from vitreous.constants import PADDING
from vitreous.errors import ConvergenceError
from vitreous.fourier.frequencies import Disc, disc
from vitreous.physics import kernels
from vitreous.physics.slices_reference import insert_plain, slice_plain
from vitreous.typing import Complex, Float, ImagesFT, Map, Rotations


def gridding_window(box: int, padding: int = PADDING, device: torch.device | str = "cpu") -> Map:
    """Transform of the trilinear kernel in real space, ``Π sinc²(x / (padding·box))``."""
    axis = torch.sinc((torch.arange(box, device=device) - box // 2) / (padding * box)) ** 2
    return axis[:, None, None] * axis[None, :, None] * axis


def _half_grid(values: Map, n: int) -> Complex[Tensor, "g g h"]:
    """Transform a map, padded to ``n``: zero frequency in the middle, both Nyquist planes there.

    Each axis is padded just before its own transform, so that no padded map is ever made.
    """
    planes = torch.fft.rfft(_wrapped(values, n, 2), dim=2)
    planes = _centred(torch.fft.fft(_wrapped(planes, n, 1), dim=1), 1)
    return _centred(torch.fft.fft(_wrapped(planes, n, 0), dim=0), 0)


def _wrapped(array: Tensor, n: int, dim: int) -> Tensor:
    """Pad an axis to ``n`` and move its centre to index 0."""
    box = array.shape[dim]
    centre = box // 2
    zeros = array.new_zeros([n - box if axis == dim else size for axis, size in enumerate(array.shape)])
    return torch.cat([array.narrow(dim, centre, box - centre), zeros, array.narrow(dim, 0, centre)], dim)


def _centred(array: Tensor, dim: int) -> Tensor:
    """Move zero frequency to the middle of an even axis; the Nyquist plane comes first and last."""
    half = array.shape[dim] // 2
    return torch.cat([array.narrow(dim, half, half), array.narrow(dim, 0, half + 1)], dim)


def _unwrapped(array: Tensor, box: int, dim: int) -> Tensor:
    """Undo :func:`_wrapped`: the ``box`` entries about index 0, which moves to the centre."""
    centre, n = box // 2, array.shape[dim]
    return torch.cat([array.narrow(dim, n - centre, centre), array.narrow(dim, 0, box - centre)], dim)


def padded_size(box: int, padding: int) -> int:
    """Side of the padded box; even, so that the cell beyond the outermost sample ends on the grid."""
    if padding * box % 2:
        message = f"padding must be even for a box of {box}, found {padding}"
        raise ValueError(message)
    return padding * box


def _as_floats(values: Tensor) -> Any:
    return torch.view_as_real(values.detach().resolve_conj().contiguous()).numpy()


def require_finite(rotations: Tensor) -> None:
    """Raise ConvergenceError where rotations are not numbers: native code would read beside the grid."""
    if not torch.isfinite(rotations).all():
        raise ConvergenceError(
            "rotations became NaN or infinite",
            remedy="Lower the learning rate where they are learned, and leave images out that hold NaN",
        )


class _Slice(torch.autograd.Function):
    """Native slices with native gradients for the grid and the rotations."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor, rotations: Tensor, k: tuple[Tensor, Tensor], padding: float) -> Tensor:
        """Sample ``grid`` at the slice coordinates."""
        require_finite(rotations)
        ctx.save_for_backward(grid, rotations)
        ctx.k, ctx.padding = k, padding
        out = torch.empty(len(rotations), len(k[0]), 2)
        args = (rotations.detach().contiguous().numpy(), k[0].numpy(), k[1].numpy())
        kernels.slice_kernel(_as_floats(grid), *args, np.float32(padding), out.numpy())
        return torch.view_as_complex(out)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Insert the gradient (for the grid) and contract it with the interpolation's slope (for the rotations)."""
        grid, rotations = ctx.saved_tensors
        k, padding, grad = ctx.k, ctx.padding, upstream[0]
        grid_grad = rotation_grad = None
        if ctx.needs_input_grad[0]:
            total = torch.zeros(1, *grid.shape, 3)
            _insert_native(total, rotations, k, padding, (grad, torch.zeros(grad.shape)))
            grid_grad = torch.view_as_complex(total[0, ..., :2].contiguous())
        if ctx.needs_input_grad[1]:
            rotation_grad = torch.zeros(len(rotations), 3, 3)
            args = (rotations.detach().contiguous().numpy(), k[0].numpy(), k[1].numpy())
            kernels.rotation_gradient_kernel(
                _as_floats(grid), *args, np.float32(padding), _as_floats(grad), rotation_grad.numpy()
            )
        return grid_grad, rotation_grad, None, None


def _insert_native(
    grids: Tensor, rotations: Tensor, k: tuple[Tensor, Tensor], padding: float, samples: tuple[Tensor, Tensor]
) -> None:
    require_finite(rotations)
    args = (rotations.detach().contiguous().numpy(), k[0].numpy(), k[1].numpy())
    kernels.insert_kernel(
        grids.numpy(), *args, np.float32(padding), _as_floats(samples[0]), samples[1].detach().contiguous().numpy()
    )


def _is_native(*tensors: Tensor) -> bool:
    return all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.complex64) for t in tensors)


@dataclass(frozen=True)
class FourierVolume:
    """A map's transform, ready for slicing.

    Attributes
    ----------
    grid
        ``[p·n + 1, p·n + 1, p·n // 2 + 1]``, zero frequency at ``(centre, centre, 0)``.
    box
        Side n of the map and of its projections, in voxels.
    padding
        Oversampling p.
    """

    grid: Complex[Tensor, "g g h"]
    box: int
    padding: int = PADDING

    @staticmethod
    def from_map(values: Map, padding: int = PADDING) -> "FourierVolume":
        """Transform a map ``[z, y, x]``; differentiable. An odd box takes an even padding only."""
        box = values.shape[-1]
        window = gridding_window(box, padding, values.device).to(values.dtype)
        return FourierVolume(_half_grid(values / window, padded_size(box, padding)), box, padding)

    def disc(self, max_radius: float | None = None) -> Disc:
        """Coefficients of the projections inside ``max_radius`` (default: all inside the Nyquist circle)."""
        return disc(self.box, self.box / 2 if max_radius is None else max_radius)

    def sample(self, rotations: Rotations, kx: Float[Tensor, " k"], ky: Float[Tensor, " k"]) -> Complex[Tensor, "n k"]:
        """Slices at given integer frequencies, ``hypot(kx, ky) < box / 2``; differentiable in map and rotations."""
        if _is_native(self.grid, rotations):
            return _Slice.apply(self.grid, rotations, (kx, ky), float(self.padding))  # type: ignore[no-untyped-call]
        k = (kx.to(rotations), ky.to(rotations))
        return slice_plain(self.grid, rotations, k, float(self.padding))

    def slices(self, rotations: Rotations) -> ImagesFT:
        """Half-plane transforms ``[n, box, box // 2 + 1]`` of the projections; zero at and beyond Nyquist."""
        coefficients = self.disc()
        return coefficients.scatter(self.sample(rotations, coefficients.kx, coefficients.ky))


class SliceAccumulator:
    """Sums of slices on a padded grid: the adjoint of :meth:`FourierVolume.sample`, with weights beside the values.

    Parameters
    ----------
    box, padding
        Geometry of the :class:`FourierVolume` whose adjoint this is.
    threads
        Number of private grids on the CPU; each costs ``12·(p·n)³/2`` bytes, twice as much in float64.
    device
        Where the sums are kept.
    dtype
        Of the sums. In float64 their rounding to float32 does not depend on the order of the slices.
    """

    def __init__(
        self,
        box: int,
        padding: int = PADDING,
        *,
        threads: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.box, self.padding = box, padding
        g = padded_size(box, padding) + 1
        native = torch.device(device).type == "cpu"
        self._sums = torch.zeros(threads if native else 1, g, g, g // 2 + 1, 3, device=device, dtype=dtype)
        self._native = native

    def add(
        self,
        rotations: Rotations,
        k: tuple[Float[Tensor, " k"], Float[Tensor, " k"]],
        values: Complex[Tensor, "n k"],
        weights: Float[Tensor, "n k"],
    ) -> None:
        """Insert slices: ``values`` into the numerator, ``weights`` into the denominator."""
        if self._native:
            _insert_native(self._sums, rotations.float(), k, float(self.padding), (values, weights))
        else:
            turned = rotations.float().to(self._sums.device)
            moved, samples = (k[0].to(turned), k[1].to(turned)), (values.to(turned.device), weights.to(turned.device))
            insert_plain(self._sums[0], turned, moved, float(self.padding), samples)

    def scale(self, factor: float) -> None:
        """Multiply all sums: forgetting."""
        self._sums.mul_(factor)

    def sum_over_processes(self) -> None:
        """Add what all processes inserted; afterwards each holds the same sums."""
        share = current_share()
        if share.size > 1:
            total = self._sums.sum(0).cpu()
            share.sum_(total)
            self._sums.zero_()
            self._sums[0] = total

    def merged(self, other: "SliceAccumulator") -> "SliceAccumulator":
        """Sum of two accumulators of the same geometry."""
        both = SliceAccumulator(self.box, self.padding, device=self._sums.device, dtype=self._sums.dtype)
        both._sums[0] = self._sums.sum(0) + other._sums.sum(0)
        return both

    @property
    def native_sums(self) -> Float[Tensor, "t g g h 3"] | None:
        """The private grids, for compiled kernels; None where the sums are not kept in the CPU's memory."""
        return self._sums if self._native else None

    def totals(self) -> tuple[Complex[Tensor, "g g h"], Float[Tensor, "g g h"]]:
        """Numerator and denominator, with Friedel mates added on the plane ``kx = 0``."""
        total = self._sums.sum(0) if len(self._sums) > 1 else self._sums[0].clone()
        mate = total[..., 0, :].flip((0, 1)) * torch.tensor([1.0, -1.0, 1.0], device=total.device)
        total[..., 0, :] += mate
        return torch.view_as_complex(total[..., :2].contiguous()), total[..., 2].contiguous()


def map_from_grid(grid: Complex[Tensor, "g g h"], box: int, padding: int = PADDING) -> Map:
    """Inverse transform of a padded grid, cropped to ``box`` and divided by the interpolation kernel's transform."""
    n = padding * box
    order = torch.arange(n, device=grid.device)
    order = torch.where(order < n - n // 2, order, order - n) + grid.shape[0] // 2
    return map_from_transform(grid[order][:, order][:, :, : n // 2 + 1], box, padding)


def map_from_transform(transform: Complex[Tensor, "n n h"], box: int, padding: int = PADDING) -> Map:
    """Do as :func:`map_from_grid` with a padded half-space transform in the order of ``torch.fft``.

    Each axis is cropped right after its own transform, so that no padded map is ever made.
    """
    n = padding * box
    planes = _unwrapped(torch.fft.ifft(transform, dim=0), box, 0)
    planes = _unwrapped(torch.fft.ifft(planes, dim=1), box, 1)
    values = _unwrapped(torch.fft.irfft(planes, n=n, dim=2), box, 2)
    return values / gridding_window(box, padding, transform.device).to(values)
