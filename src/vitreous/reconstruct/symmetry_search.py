"""Find the point group of a map that was made without symmetry."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.constants import FSC_TO_TRUTH
from vitreous.fourier.shells import crossing_shell, fsc
from vitreous.geometry.symmetry import PointGroup, point_group
from vitreous.reconstruct.candidate_axes import (
    ORDERS,
    Axis,
    Frame,
    Yardstick,
    candidate_axes,
    candidate_frames,
    is_part,
)
from vitreous.reconstruct.self_correlation import SelfCorrelation
from vitreous.reconstruct.symmetry_axes import BAND_RADIUS, SymmetryFrame, check_map
from vitreous.typing import Float, Map

GROUPS = ("I", "O", "T", *(f"{family}{order}" for order in ORDERS for family in "DC"))
"""Groups that are tried."""

HOLDS = 0.93
"""Least share of the expected agreement for every operation of a group (docs/methods/search.md)."""

_ALIKE = 0.03
"""Of two groups whose shares differ by less, the larger is taken."""

LEAST_SHELL = 7
"""A map that is reliable no further is a blob, whose symmetry cannot be told (docs/methods/search.md)."""


@dataclass(frozen=True)
class FoundGroup:
    """The point group of a map.

    Attributes
    ----------
    name
        ``C1`` where the map has none.
    frame
        Where the map has it; the score is the mean FSC with its mates.
    share
        Agreement with the worst mate in the outer half of the shells, as a share of what noise allows: 1 for a map
        that has the symmetry, and for C1.
    shell
        Last shell used.
    rejected, rejected_share
        The group that came next of those that do not hold, and its share; ``C1`` and 0 where none came near.
    """

    name: str
    frame: SymmetryFrame
    share: float
    shell: int
    rejected: str = "C1"
    rejected_share: float = 0.0


def find_point_group(values: Map, radius: float = BAND_RADIUS, second: Map | None = None) -> FoundGroup:
    """Find the largest point group whose every operation a map has, as far as the map can be trusted.

    Rotation axes of prime order are searched over all directions, multiples tried on them, and groups built of the
    axes that come near; a frame of every group is refined for all its operations. A group holds if the second map
    agrees with every mate of the first to :data:`HOLDS` of what it agrees with the first itself, in the outer half of
    the shells up to where the two part (FSC 0.5). Of groups that hold and are not part of one another, the largest of
    those that agree best is taken: rings of seven and of nine are alike where few shells are known.

    Parameters
    ----------
    values
        The map, in any frame.
    radius
        Last shell used, in Fourier pixels; kept within 4 and 0.45 of the box.
    second
        An independent map of the same particle in the same frame and box. Without it, the map is taken to be without
        noise: noise then counts against symmetry.

    Raises
    ------
    InputError
        If a map is constant or holds NaN.
    """
    other = values if second is None else second
    for one in (values, other):
        check_map(one)
    last = _last_shell(int(max(4, min(radius, 0.45 * values.shape[-1]))), values, other)
    nothing = FoundGroup("C1", SymmetryFrame(torch.eye(3), torch.zeros(3), 1.0), 1.0, last)
    if last < LEAST_SHELL:
        return nothing
    yardstick = Yardstick(values, other, last)
    tried = _tried(yardstick, candidate_axes(yardstick))
    name = _chosen({name: frame.share for name, frame in tried.items()})
    failed = {other: frame.share for other, frame in tried.items() if frame.share < HOLDS}
    rejected = max(failed, key=failed.__getitem__, default="C1")
    rest = (last, rejected, failed.get(rejected, 0.0))
    if name == "C1":
        return FoundGroup(name, nothing.frame, 1.0, *rest)
    return FoundGroup(name, _symmetry_frame(yardstick, name, tried[name], values.shape[-1]), tried[name].share, *rest)


def _chosen(shares: dict[str, float]) -> str:
    """Name of the largest of the groups that hold best; the shares are those of groups in falling size."""
    best = max(shares.values(), default=0.0)
    return next((name for name, share in shares.items() if share >= HOLDS and share > best - _ALIKE), "C1")


def _last_shell(radius: int, first: Map, second: Map) -> int:
    """Last shell inside a radius up to which two maps agree."""
    crossing = crossing_shell(fsc(first, second), FSC_TO_TRUTH)
    return radius if crossing is None else min(radius, int(crossing))


def _tried(yardstick: Yardstick, axes: list[Axis]) -> dict[str, Frame]:
    """Best frame of each group that the axes allow, the largest first; none of those that a larger one contains."""
    tried: dict[str, Frame] = {}
    held: list[PointGroup] = []
    for name in sorted(GROUPS, key=lambda name: -len(point_group(name))):
        group = point_group(name).float()
        frames = candidate_frames(group, axes)
        new = [frame for frame in frames if not any(is_part(frame.operations(group), larger) for larger in held)]
        refined = [yardstick.refined(without_inverses(group), frame, yardstick.last) for frame in new]
        if refined:
            tried[name] = max(refined, key=lambda frame: frame.share)
            held += [tried[name].operations(group)] if tried[name].share >= HOLDS else []
    return tried


def without_inverses(group: PointGroup) -> Float[Tensor, "pairs 3 3"]:
    """Operations of a group without the identity, one of every two inverse ones: both agree alike."""
    kept: list[int] = []
    for i in range(1, len(group)):
        if not any(torch.allclose(group[i].T, group[j], atol=1e-4) for j in kept):
            kept.append(i)
    return group[kept]


def _symmetry_frame(yardstick: Yardstick, name: str, frame: Frame, box: int) -> SymmetryFrame:
    elements = without_inverses(point_group(name).float())
    with torch.no_grad():
        curve = SelfCorrelation(yardstick.mean, elements, yardstick.last).curve(frame.rotation, frame.centre)
    return SymmetryFrame(frame.rotation, frame.centre * box, float(curve[1:].mean()))
