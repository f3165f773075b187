"""Find the symmetry axes of a map, and the turn that brings them to where a point group has them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.geometry.grids import healpix_directions
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector, vector_from_rotation
from vitreous.geometry.symmetry import PointGroup, nearest_mates, point_group
from vitreous.reconstruct.align_maps import rotate_map
from vitreous.reconstruct.map_spectrum import MapSpectrum, crop_map
from vitreous.reconstruct.self_correlation import SelfCorrelation, best_shifts
from vitreous.typing import Float, Map, Rotations, Shifts

BAND_RADIUS = 12
_COARSE_RADIUS = 6
_AXIS_NSIDE = 8
"""Directions 7.3° apart."""

_ANGLE_STEP_DEG = 4.0
_APART_DEG = 12.0
"""Candidates of one search are no nearer to each other than this."""

_AXES = 8
_FRAMES = 6
_FINALISTS = 2


@dataclass(frozen=True)
class SymmetryFrame:
    """The frame in which a map has a point group.

    Attributes
    ----------
    rotation, centre_voxels
        Matter at r (voxels from the box centre, ``(x, y, z)``) moves to ``Q @ (r − c)``: the turned map has its axes
        where :func:`vitreous.geometry.symmetry.point_group` has them. The turn about the axis of a cyclic group and
        the place along it are arbitrary.
    score
        Mean FSC of the turned map with its symmetry mates over the shells used: 1 for a map that has the symmetry.
    """

    rotation: Float[Tensor, "3 3"]
    centre_voxels: Float[Tensor, " 3"]
    score: float

    def turned_map(self, values: Map) -> Map:
        """The map in this frame."""
        shift = -self.rotation @ self.centre_voxels
        return rotate_map(Volume(values, 1.0), self.rotation, shift).values

    def turned_poses(self, rotations: Rotations, shifts_px: Shifts) -> tuple[Rotations, Shifts]:
        """Poses that give the same images of the turned map: ``R @ Q.T`` and ``t + (R @ c)`` in the plane.

        From ``r = Q.T @ r' + c``: the particle's matter lies at ``R @ Q.T @ r' + R @ c + t`` in the microscope.
        """
        return rotations @ self.rotation.T, shifts_px + (rotations @ self.centre_voxels)[:, :2]


def align_to_point_group(values: Map, symmetry: str, radius: float = BAND_RADIUS) -> SymmetryFrame:
    """Find the turn and the centre that bring a map's symmetry axes to where the point group has them.

    Every direction of a hemisphere is tried as the axis of highest order, then every angle about the best few for a
    second generator of the group; all shifts at once by FFT give the centre each time. The best frames are refined by
    L-BFGS over rotation and centre, for the FSC of the map with all its mates.

    Parameters
    ----------
    values
        The map, in any frame.
    symmetry
        Point group.
    radius
        Last shell used, in Fourier pixels; kept within 4 and 0.45 of the box.

    Raises
    ------
    InputError
        If the map is constant or holds NaN.
    ConfigError
        If the point group is unknown.
    """
    check_map(values)
    group, n = point_group(symmetry).float(), values.shape[-1]
    if len(group) == 1:
        return SymmetryFrame(torch.eye(3), torch.zeros(3), 1.0)
    last = int(max(4, min(radius, 0.45 * n)))
    spectrum = MapSpectrum(crop_map(values, 2 * math.ceil(1.25 * last) + 1))
    coarse = _with_second_generator if len(group) > _main_fold(group) else _cyclic
    frames = coarse(spectrum, group, min(_COARSE_RADIUS, last))
    for band, kept in ((min(_COARSE_RADIUS + 2, last), _FINALISTS), (last, 1)):
        correlation = SelfCorrelation(spectrum, group[1:], band)
        refined = [correlation.refine(rotation, centre) for rotation, centre, _ in frames]
        frames = sorted(refined, key=lambda frame: -frame[2])[:kept]
    rotation, centre, score = frames[0]
    return SymmetryFrame(rotation, centre * n, score)


def check_map(values: Map) -> None:
    """Raise an InputError for a map that is constant or holds NaN."""
    if not float(values.std()) > 0 or not bool(torch.isfinite(values).all()):
        raise InputError("the map is constant or holds NaN", remedy="Give a map that shows a particle")


_Frame = tuple[Tensor, Tensor, float]
"""Q, the centre in boxes, and a score."""


def _turns_rad(group: PointGroup) -> Tensor:
    return vector_from_rotation(group[1:]).norm(dim=-1)


def _main_fold(group: PointGroup) -> int:
    """Highest order of an axis."""
    return round(2 * math.pi / float(_turns_rad(group).min()))


def _generators(group: PointGroup) -> tuple[int, int]:
    """Indices of a turn by ``360° / n`` about an axis of highest order n and of one that completes the group."""
    main = 1 + int(_turns_rad(group).argmin())
    products = torch.einsum("iab,jbc,mac->ijm", group, group, group).argmax(-1)
    for second in range(1, len(group)):
        reached = torch.zeros(len(group), dtype=torch.bool)
        reached[0] = True
        for _ in range(len(group)):
            reached[products[reached][:, [main, second]].flatten()] = True
        if bool(reached.all()):
            return main, second
    return main, main


def _main_axes(spectrum: MapSpectrum, group: PointGroup, radius: int) -> tuple[Rotations, Tensor, Tensor]:
    """Turns of the map that bring its likeliest axes to the group's main axis, with their shifts and scores."""
    step = vector_from_rotation(group[_generators(group)[0]][None])[0]
    directions, shifts, scores = likely_axes(spectrum, float(step.norm()), radius)
    turns = torch.stack([shortest_turn(direction, step / step.norm()) for direction in directions])
    return turns, shifts, scores


def likely_axes(
    spectrum: MapSpectrum, angle_rad: float, radius: int
) -> tuple[Float[Tensor, "m 3"], Float[Tensor, "m 3"], Float[Tensor, " m"]]:
    """Directions about which a turn by an angle best maps a map on itself, no two near each other.

    Returns
    -------
    Unit vectors, and the shifts and scores of :func:`~vitreous.reconstruct.self_correlation.best_shifts`.
    """
    theta, phi = healpix_directions(_AXIS_NSIDE)
    directions = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)[theta < 1.6].float()
    scores, shifts = best_shifts(spectrum, rotation_from_vector(directions * angle_rad), radius)
    kept: list[int] = []
    for i in torch.argsort(scores, descending=True, stable=True).tolist():
        cosines = (directions[kept] @ directions[i]).abs()
        if len(kept) < _AXES and not bool((cosines > math.cos(math.radians(_APART_DEG))).any()):
            kept.append(i)
    return directions[kept], shifts[kept], scores[kept]


def shortest_turn(start: Float[Tensor, " 3"], end: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """Smallest rotation that takes one unit vector, or its opposite, to another."""
    start = start if float(start @ end) >= 0 else -start
    across = torch.linalg.cross(start, end)
    angle = torch.atan2(across.norm(), start @ end)
    return rotation_from_vector((across / across.norm().clamp_min(1e-12) * angle)[None])[0]


def fixed_point(turns: Float[Tensor, "m 3 3"], shifts: Float[Tensor, "m 3"]) -> Float[Tensor, " 3"]:
    """The point nearest to the box centre that all turns ``W r + τ`` best leave in place: ``(1 − W) c = τ``."""
    return torch.linalg.pinv((torch.eye(3) - turns).flatten(0, 1), rtol=1e-3) @ shifts.flatten()


def _cyclic(spectrum: MapSpectrum, group: PointGroup, radius: int) -> list[_Frame]:
    """Coarse frames of a cyclic group: its axis decides."""
    turns, shifts, scores = _main_axes(spectrum, group, radius)
    main = turns.transpose(1, 2) @ group[_generators(group)[0]] @ turns
    return [(turns[i], fixed_point(main[i : i + 1], shifts[i : i + 1]), float(scores[i])) for i in range(len(turns))]


def _with_second_generator(spectrum: MapSpectrum, group: PointGroup, radius: int) -> list[_Frame]:
    """Coarse frames of any other group: every angle about the likeliest main axes is tried for a second generator."""
    turns, shifts, scores = _main_axes(spectrum, group, radius)
    main, second = _generators(group)
    step = vector_from_rotation(group[main][None])[0]
    n_angles = math.ceil(math.degrees(float(step.norm())) / _ANGLE_STEP_DEG)
    about = rotation_from_vector(torch.arange(n_angles)[:, None] / n_angles * step)
    frames = (about[None] @ turns[:, None]).flatten(0, 1)
    mates = frames.transpose(1, 2) @ group[second] @ frames
    second_scores, second_shifts = best_shifts(spectrum, mates, radius)
    total = scores.repeat_interleave(n_angles) + second_scores
    kept: list[int] = []
    for i in torch.argsort(total, descending=True, stable=True).tolist():
        poses, own = frames[kept].transpose(1, 2), frames[i].T.expand(len(kept), 3, 3)
        near = rotation_angle_deg(nearest_mates(poses, own, group), poses) < _APART_DEG
        if len(kept) < _FRAMES and not bool(near.any()):
            kept.append(i)
    found = []
    for i in kept:
        pair = torch.stack([frames[i].T @ group[main] @ frames[i], mates[i]])
        centre = fixed_point(pair, torch.stack([shifts[i // n_angles], second_shifts[i]]))
        found.append((frames[i], centre, float(total[i])))
    return found
