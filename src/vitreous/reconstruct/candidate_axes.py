"""Rotation axes that a map may have, and the frames in which a point group would have its axes there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector, vector_from_rotation
from vitreous.geometry.symmetry import PointGroup
from vitreous.reconstruct.map_spectrum import MapSpectrum, crop_map
from vitreous.reconstruct.self_correlation import SelfCorrelation
from vitreous.reconstruct.symmetry_axes import fixed_point, likely_axes, shortest_turn
from vitreous.typing import Float, Map

ORDERS = range(2, 10)
"""Orders of the axes that are looked for."""

MAYBE = 0.6
"""Axes that reach less of the expected agreement are in no group (docs/methods/search.md)."""

_MAYBE_ROUGH = 0.35
"""The same before an axis is refined to the last shell."""

_PRIMES = (2, 3, 5, 7)
_COARSE_RADIUS, _ROUGH_RADIUS = 6, 8
_OFF_DEG = 6.0
"""Two axes of one group may be off their angle by this before their frame is refined."""

_SAME_AXIS_DEG, _SAME_TURN_DEG = 5.0, 6.0
_FRAMES = 3
_Z = torch.tensor([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Axis:
    """One order of a rotation axis of a map.

    Attributes
    ----------
    order
        The map may have a turn by ``360° / order``.
    direction, centre
        Unit vector, and a point on the axis in boxes from the centre of the box.
    share
        What the turn reaches of the expected agreement.
    """

    order: int
    direction: Float[Tensor, " 3"]
    centre: Float[Tensor, " 3"]
    share: float

    @property
    def turn(self) -> Float[Tensor, "3 3"]:
        """The turn by ``360° / order``."""
        return rotation_from_vector(self.direction[None] * (2 * math.pi / self.order))[0]


@dataclass(frozen=True)
class Frame:
    """A frame in which a map may have a group: Q, the centre in boxes, and the share of the expected agreement."""

    rotation: Float[Tensor, "3 3"]
    centre: Float[Tensor, " 3"]
    share: float

    def operations(self, group: PointGroup) -> PointGroup:
        """Rotations of a group in the frame of the map."""
        return self.rotation.T @ group @ self.rotation


class Yardstick:
    """Measures the agreement of mates by that of two independent maps in one frame: noise parts both alike.

    The mates of one map are compared with the other map, so that what either has of its own, noise or a wrong part,
    counts as it does between the maps themselves, and no noise is compared with itself.

    Parameters
    ----------
    first, second
        Independent maps of the same box; the same map twice, where only one is known and taken to be without noise.
    last
        Last shell.
    """

    def __init__(self, first: Map, second: Map, last: int) -> None:
        box = 2 * math.ceil(1.25 * last) + 1
        self.last, self.halves = last, tuple(MapSpectrum(crop_map(values, box)) for values in (first, second))
        self.mean = MapSpectrum(crop_map((first + second) / 2, box))
        self.expected = self._curves(torch.eye(3)[None], Frame(torch.eye(3), torch.zeros(3), 0.0), last)[0]

    def _curves(self, elements: PointGroup, frame: Frame, radius: int) -> Float[Tensor, "g s"]:
        """FSC of each map with the other's mates, the mean of both."""
        first, second = self.halves
        with torch.no_grad():
            curves = [
                SelfCorrelation(moved, elements, radius, fixed).curves(frame.rotation, frame.centre)
                for moved, fixed in ((first, second), (second, first))
            ]
        return (curves[0] + curves[1]) / 2

    def share(self, elements: PointGroup, frame: Frame, radius: int) -> float:
        """Agreement of the worst mate in the outer half of the shells, as a share of the expected agreement."""
        shell, expected = torch.arange(radius + 1), self.expected[: radius + 1]
        weight = torch.where(2 * shell >= radius, shell**2 * expected, 0.0)
        return float((self._curves(elements, frame, radius) @ weight / (expected @ weight)).min())

    def refined(self, elements: PointGroup, frame: Frame, radius: int) -> Frame:
        """Climb to the nearest frame in which the maps have some rotations, inside a radius."""
        first, second = self.halves
        correlation = SelfCorrelation(second, elements, radius, first)
        rotation, centre, _ = correlation.refine(frame.rotation, frame.centre)
        share = self.share(elements, Frame(rotation, centre, 0.0), radius)
        return Frame(rotation, centre, share)


def candidate_axes(yardstick: Yardstick) -> list[Axis]:
    """All axes that a map may have, one entry for every order: prime orders are searched, multiples tried on them."""
    found = [axis for prime in _PRIMES for axis in _of_prime_order(yardstick, prime)]
    for axis in tuple(found):
        for order in ORDERS:
            known = any(order == other.order and _near(axis.direction, other.direction) for other in found)
            if order % axis.order or known:
                continue
            frame = Frame(shortest_turn(axis.direction, _Z), axis.centre, 0.0)
            share = yardstick.share(_turn_about_z(order), frame, yardstick.last)
            if share >= MAYBE:
                found.append(Axis(order, axis.direction, axis.centre, share))
    return found


def candidate_frames(group: PointGroup, axes: list[Axis]) -> list[Frame]:
    """Frames in which some of the axes are axes of the group, the best first; none where they do not fit it."""
    (order, main), *others = _axes_of(group)
    firsts = sorted((axis for axis in axes if axis.order == order), key=lambda axis: -axis.share)
    if not others:
        return [Frame(shortest_turn(axis.direction, main), axis.centre, axis.share) for axis in firsts[:_FRAMES]]
    fitting = [frame for first in firsts for frame in _from_pairs((main, first), others, axes)]
    kept: list[Frame] = []
    for frame in sorted(fitting, key=lambda frame: (-_support(frame, others, axes), -frame.share)):
        if len(kept) < _FRAMES and not any(is_part(frame.operations(group), other.operations(group)) for other in kept):
            kept.append(frame)
    return kept


def is_part(smaller: PointGroup, larger: Float[Tensor, "h 3 3"]) -> bool:
    """Whether every rotation of one group is one of another, to a few degrees."""
    angles = rotation_angle_deg(smaller.repeat_interleave(len(larger), 0), larger.repeat(len(smaller), 1, 1))
    return bool((angles.reshape(len(smaller), len(larger)).amin(1) < _SAME_TURN_DEG).all())


def _of_prime_order(yardstick: Yardstick, order: int) -> list[Axis]:
    """Axes of one order: the likeliest of all directions, refined."""
    step, last = _turn_about_z(order), yardstick.last
    directions, shifts, _ = likely_axes(yardstick.mean, 2 * math.pi / order, min(_COARSE_RADIUS, last))
    kept: list[Axis] = []
    for direction, shift in zip(directions, shifts):
        turn = shortest_turn(direction, _Z)
        start = Frame(turn, fixed_point(turn.T @ step @ turn, shift[None]), 0.0)
        rough = yardstick.refined(step, start, min(_ROUGH_RADIUS, last))
        if rough.share < _MAYBE_ROUGH or _is_known(rough, kept):
            continue
        fine = yardstick.refined(step, rough, last)
        if fine.share >= MAYBE and not _is_known(fine, kept):
            kept.append(Axis(order, fine.rotation[2], fine.centre, fine.share))
    return kept


def _turn_about_z(order: int) -> PointGroup:
    return rotation_from_vector(_Z[None] * (2 * math.pi / order))


def _is_known(frame: Frame, axes: list[Axis]) -> bool:
    return any(_near(frame.rotation[2], axis.direction) for axis in axes)


def _near(first: Tensor, second: Tensor) -> bool:
    return abs(float(first @ second)) > math.cos(math.radians(_SAME_AXIS_DEG))


def _axes_of(group: PointGroup) -> list[tuple[int, Tensor]]:
    """Order and direction of every axis of a group, the highest order first."""
    vectors = vector_from_rotation(group[1:])
    axes: list[tuple[int, Tensor]] = []
    for i in vectors.norm(dim=1).argsort(stable=True).tolist():
        angle = vectors[i].norm()
        if not any(_near(vectors[i] / angle, direction) for _, direction in axes):
            axes.append((round(2 * math.pi / float(angle)), vectors[i] / angle))
    return axes


def _from_pairs(first: tuple[Tensor, Axis], others: list[tuple[int, Tensor]], axes: list[Axis]) -> Iterator[Frame]:
    """Frames that bring one axis of a map to one of a group, and a second to a second."""
    main, axis = first
    for order, direction in others:
        for second in axes:
            if second.order != order or _near(second.direction, axis.direction):
                continue
            for towards in (second.direction, -second.direction):
                if abs(_angle_deg(axis.direction, towards) - _angle_deg(main, direction)) < _OFF_DEG:
                    rotation = _basis(main, direction) @ _basis(axis.direction, towards).T
                    yield Frame(rotation, _common_point(axis, second), axis.share + second.share)


def _support(frame: Frame, expected: list[tuple[int, Tensor]], axes: list[Axis]) -> int:
    """How many of some axes of a group the map has in a frame: a two-fold in the place of a four-fold is none."""
    own = [(order, frame.rotation.T @ direction) for order, direction in expected]
    return sum(any(axis.order == order and _near(axis.direction, place) for axis in axes) for order, place in own)


def _angle_deg(first: Tensor, second: Tensor) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, float(first @ second)))))


def _basis(first: Tensor, second: Tensor) -> Float[Tensor, "3 3"]:
    """Right-handed orthonormal basis (columns): the first vector, the rest of the second, and across both."""
    rest = second - (first @ second) * first
    rest = rest / rest.norm()
    return torch.stack([first, rest, torch.linalg.cross(first, rest)], dim=1)


def _common_point(*axes: Axis) -> Float[Tensor, " 3"]:
    """Point that the turns about all axes best leave in place."""
    turns = torch.stack([axis.turn for axis in axes])
    return fixed_point(turns, torch.stack([axis.centre - axis.turn @ axis.centre for axis in axes]))
