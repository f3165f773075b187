"""Turn, shift and mirror maps, and align one map to another over all three."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.geometry.grids import so3_grid_for_spacing
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.reconstruct.map_spectrum import MapSpectrum, crop_map, half_ball
from vitreous.typing import Float, Map, Rotations

_COARSE_RADIUS = 6
_COARSE_SPACING_DEG = 11.0
_COARSE_BOX = 16
_CANDIDATES = 8
_FINALISTS = 2
_CLIMB_STEPS, _CLIMB_STEP = 20, 0.03
_GENERIC_TURN = torch.tensor([[0.4, 0.7, -0.3]])
"""A turned lattice of frequencies: on the maps' own, interpolation favours not turning at all."""

_WORKING_BOX = 95
"""Odd, so that every frequency has its opposite."""


@dataclass(frozen=True)
class MapAlignment:
    """One map brought onto another.

    Attributes
    ----------
    volume
        The moved map, on the grid of the target.
    rotation, translation_A, mirrored
        The move: first the mirror (:func:`mirror_map`), then :func:`rotate_map` with this rotation [3, 3] and
        translation [3], ``(x, y, z)`` in Å. Poses of the moved map are ``R @ rotation.T`` (``J @ R @ J @ rotation.T``).
    score, other_hand_score
        Mean FSC over the band searched, for this hand and for the best alignment of the other hand (None where it was
        not tried).
    """

    volume: Volume
    rotation: Float[Tensor, "3 3"]
    translation_A: Float[Tensor, " 3"]
    mirrored: bool
    score: float
    other_hand_score: float | None


def mirror_map(volume: Volume) -> Volume:
    """Mirror a map, z → −z about its centre voxel ``n // 2`` (for even n the first section stays in its place)."""
    flipped = volume.values.flip(0)
    return replace(volume, values=flipped if volume.box % 2 else flipped.roll(1, 0))


def rotate_map(volume: Volume, rotation: Float[Tensor, "3 3"], shift_A: Float[Tensor, " 3"] | None = None) -> Volume:
    """Turn a map about its centre, then shift it: matter at r moves to ``R @ r + shift``.

    Quintic splines on the map's own grid. For a map without power beyond 0.75 Nyquist the turned map correlates
    above 0.998 with the exact one in every shell up to there; at Nyquist the correlation falls to 0.95, because a turn
    moves the corners of the transform past the edge of the box. Outside the box the density is zero.

    Parameters
    ----------
    volume
        The map.
    rotation
        R.
    shift_A
        ``(x, y, z)`` in Å; none by default.
    """
    from scipy.ndimage import affine_transform

    matrix = rotation.double().T.flip(0, 1).numpy(force=True)
    shift = np.zeros(3) if shift_A is None else shift_A.double().flip(0).numpy(force=True) / volume.voxel_size_A
    centre = np.full(3, volume.box // 2)
    values = volume.values.numpy(force=True)
    turned = affine_transform(values, matrix, offset=centre - matrix @ (centre + shift), order=5)
    return replace(volume, values=torch.from_numpy(turned).to(volume.values))


def align_maps(estimate: Volume, target: Volume, *, allow_mirror: bool = True) -> MapAlignment:
    """Align one map to another over rotation, shift and hand.

    An exhaustive search over SO(3) on the first 6 shells, with all shifts at once by FFT, proposes candidates; they
    are refined by L-BFGS in growing bands, each shell weighted by ``FSC/(1 − FSC²)``. The hand with the higher mean
    FSC wins.

    Parameters
    ----------
    estimate, target
        Maps of the same box and voxel size.
    allow_mirror
        Whether the estimate may have the opposite hand.

    Raises
    ------
    InputError
        If the maps differ in box or voxel size, or one of them is constant or holds NaN.
    """
    check_same_grid(estimate, target)
    for name, volume in (("map to align", estimate), ("target map", target)):
        if not float(volume.values.std()) > 0 or not bool(torch.isfinite(volume.values).all()):
            raise InputError(f"the {name} is constant or holds NaN", remedy="Give a map that shows a particle")
    hands = [estimate, mirror_map(estimate)] if allow_mirror else [estimate]
    fits = [_best_fit(crop_map(hand.values, _WORKING_BOX), crop_map(target.values, _WORKING_BOX)) for hand in hands]
    mirrored = len(fits) == 2 and fits[1].score > fits[0].score
    fit = fits[mirrored]
    translation_A = fit.shift * estimate.box * estimate.voxel_size_A
    moved = rotate_map(hands[mirrored], fit.rotation, translation_A)
    return MapAlignment(
        volume=replace(moved, origin_A=target.origin_A),
        rotation=fit.rotation.to(target.values.dtype),
        translation_A=translation_A.to(target.values.dtype),
        mirrored=mirrored,
        score=fit.score,
        other_hand_score=fits[1 - mirrored].score if allow_mirror else None,
    )


def drift_between(estimate: Map, target: Map, radius: float) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """Small rotation and shift, ``(x, y, z)`` in voxels, that bring a map onto another near which it already is.

    The nearest maximum of the weighted FSC inside a radius (Fourier pixels), climbed from no move at all.
    """
    moving, fixed = (MapSpectrum(crop_map(values, _WORKING_BOX)) for values in (estimate, target))
    last = int(max(4, min(radius, 0.45 * moving.box)))
    fit = _Band(moving, fixed, last, turned=True).refine(_Fit(torch.eye(3), torch.zeros(3), 0.0))
    return fit.rotation, fit.shift * estimate.shape[-1]


def check_same_grid(first: Volume, second: Volume) -> None:
    """Raise an InputError unless two maps have the same box and voxel size (to 0.1 %)."""
    if first.box != second.box or not math.isclose(first.voxel_size_A, second.voxel_size_A, rel_tol=1e-3):
        raise InputError(
            "two maps do not share one grid",
            expected=f"box {second.box} at {second.voxel_size_A:.4g} Å",
            found=f"box {first.box} at {first.voxel_size_A:.4g} Å",
            remedy="Resample one of them to the other's box and voxel size",
        )


@dataclass(frozen=True)
class _Fit:
    """A rotation and a shift (in boxes) with the mean FSC that they reach."""

    rotation: Tensor
    shift: Tensor
    score: float


def _normalised(values: Tensor, shell: Tensor) -> Tensor:
    """Divide coefficients ``[k]`` so that each shell has unit power."""
    return values / _amplitude(values, shell)


def _best_fit(estimate: Map, target: Map) -> _Fit:
    """Search coarsely, then refine fewer and fewer candidates in growing bands."""
    moving, fixed = MapSpectrum(estimate), MapSpectrum(target)
    last = max(4, int(0.45 * moving.box))
    radii = [r for r in (8, 12, 20, 32) if r < last] + [last]
    candidates = list(_coarse_candidates(moving, fixed, min(_COARSE_RADIUS, last)))
    candidates = sorted(_Band(moving, fixed, radii[0]).climb(candidates), key=lambda fit: -fit.score)[:_FINALISTS]
    for radius in radii:
        band = _Band(moving, fixed, radius)
        candidates = [max((band.refine(fit) for fit in candidates), key=lambda fit: fit.score)]
    return candidates[0]


def _coarse_candidates(moving: MapSpectrum, fixed: MapSpectrum, radius: int) -> Iterator[_Fit]:
    """Best rotations of an exhaustive grid, no two of them close, with their best shifts."""
    k, shell = half_ball(radius)
    # Dividing by the root of the shell's radius lets the outer shells decide the angle without drowning the inner ones.
    reference = (_normalised(fixed.at(k[None])[0], shell) / _normalised_power(moving, k, shell)).conj() * shell.sqrt()
    grid = so3_grid_for_spacing(_COARSE_SPACING_DEG)
    scores, peaks = zip(*(_over_shifts(moving, reference, k, R) for R in torch.split(grid, 512)))
    best = torch.argsort(torch.cat(scores), descending=True, stable=True)[: 20 * _CANDIDATES]
    rotations, shifts = grid[best], torch.cat(peaks)[best]
    kept: list[int] = []
    for i in range(len(best)):
        near = rotation_angle_deg(rotations[kept], rotations[i].expand(len(kept), 3, 3)) < 1.5 * _COARSE_SPACING_DEG
        if not bool(near.any()):
            kept.append(i)
            yield _Fit(rotations[i], shifts[i], 0.0)
        if len(kept) == _CANDIDATES:
            return


def _normalised_power(moving: MapSpectrum, k: Tensor, shell: Tensor) -> Tensor:
    return _amplitude(moving.at(k[None])[0], shell)


def _amplitude(values: Tensor, shell: Tensor) -> Tensor:
    """Root of the shell's power at every coefficient, bounded below where a map was filtered to nothing.

    A turned map is read between grid points, where an empty shell holds what leaks from its neighbours; dividing by its
    own power would blow that up. So no shell counts as weaker than a quarter of its three neighbours on either side, or
    a thousandth of the strongest.
    """
    power = torch.zeros(int(shell.max()) + 1).index_add_(0, shell, values.abs().square())
    amplitude = power.sqrt()
    nearby = torch.nn.functional.max_pool1d(amplitude[None, None], 7, stride=1, padding=3)[0, 0]
    floor = torch.maximum(0.25 * nearby, 1e-3 * amplitude.max())
    return torch.maximum(amplitude, floor).clamp_min(1e-20)[shell]


def _over_shifts(moving: MapSpectrum, reference: Tensor, k: Tensor, R: Rotations) -> tuple[Tensor, Tensor]:
    """Highest correlation over all shifts of a coarse grid for each rotation, and that shift in boxes."""
    product = moving.at(k @ R) * reference  # k @ R holds the rows Rᵀ k
    n, b = len(R), _COARSE_BOX
    cube = torch.zeros(n, b, b, b // 2 + 1, dtype=product.dtype)
    x, y, z = k.long().unbind(-1)
    cube[:, z % b, y % b, x] = product.conj()
    best, flat = torch.fft.irfftn(cube, s=(b, b, b), dim=(1, 2, 3)).flatten(1).max(1)
    index = torch.stack([flat % b, flat // b % b, flat // b**2], -1)
    return best, ((index + b // 2) % b - b // 2) / b


class _Band:
    """The correlation of two maps up to a radius, as a function of rotation and shift."""

    def __init__(self, moving: MapSpectrum, fixed: MapSpectrum, radius: int, *, turned: bool = False) -> None:
        k, self.shell = half_ball(radius)
        self.k = k @ rotation_from_vector(_GENERIC_TURN)[0] if turned else k
        self.moving, self.radius = moving, radius
        self.reference = _normalised(fixed.at(self.k[None])[0], self.shell).conj()
        self.reference = self.reference / _normalised_power(moving, self.k, self.shell)

    def curves(self, rotations: Tensor, shifts: Tensor) -> Tensor:
        """FSC of shells ``0 … radius`` for every rotation [m, 3, 3] and shift [m, 3] (float64; shell 0 is 0)."""
        phase = -2 * math.pi * (shifts @ self.k.T)
        moved = self.moving.at(self.k @ rotations) * torch.polar(torch.ones_like(phase), phase)
        product = (moved * self.reference).real.double()
        return product.new_zeros(len(shifts), self.radius + 1).index_add(1, self.shell, product)

    def climb(self, starts: Sequence[_Fit]) -> list[_Fit]:
        """Bring many starts near the maxima next to them, all at once: normalised gradients with momentum."""
        rotations = torch.stack([fit.rotation for fit in starts])
        shifts = torch.stack([fit.shift for fit in starts])
        weight = self._weight(self.curves(rotations, shifts))
        x = torch.zeros(len(starts), 6, requires_grad=True)
        direction, size = torch.zeros(len(starts), 6), torch.zeros(len(starts), 6)
        for step in range(_CLIMB_STEPS):
            score = (self.curves(*_moved(rotations, shifts, x)) * weight).sum()
            (slope,) = torch.autograd.grad(score, x)
            with torch.no_grad():
                direction.lerp_(slope, 0.3)
                size.lerp_(slope.square(), 0.1)
                x += _CLIMB_STEP * (1 - step / _CLIMB_STEPS) * direction / (size.sqrt() + 1e-9)
        with torch.no_grad():
            turned, shifted = _moved(rotations, shifts, x)
            scores = self.curves(turned, shifted)[:, 1:].mean(1)
        return [_Fit(R, t, float(score)) for R, t, score in zip(turned, shifted, scores, strict=True)]

    def _weight(self, curves: Tensor) -> Tensor:
        """Weight of every shell: large where the maps agree already, with a sum of 1."""
        first = curves.detach().clamp(0, 0.99)
        weight = torch.arange(self.radius + 1) ** 2 * (first + 0.01) / (1 - first.square())
        return weight / weight.sum(1, keepdim=True)

    def refine(self, start: _Fit) -> _Fit:
        """Climb from a start to the nearest maximum of the weighted correlation (L-BFGS)."""
        from scipy.optimize import minimize

        rotation, shift = start.rotation[None], start.shift[None]
        weight = self._weight(self.curves(rotation, shift))

        def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            x = torch.tensor(values[None], dtype=torch.float32, requires_grad=True)
            out = -(self.curves(*_moved(rotation, shift, x)) * weight).sum()
            (slope,) = torch.autograd.grad(out, x)
            return out.item(), slope[0].double().numpy()

        end = minimize(loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxfun": 25, "ftol": 1e-6})
        with torch.no_grad():
            turned, shifted = _moved(rotation, shift, torch.tensor(end.x[None], dtype=torch.float32))
            return _Fit(turned[0], shifted[0], float(self.curves(turned, shifted)[0, 1:].mean()))


def _moved(rotations: Tensor, shifts: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations and shifts after a step of six numbers each, of which the last three are in quarter boxes."""
    return rotation_from_vector(x[:, :3]) @ rotations, shifts + x[:, 3:] / 4
