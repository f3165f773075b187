"""Pose errors, in the definitions of the papers and after the best global rotation, shift and hand."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.data import Poses
from vitreous.errors import InputError
from vitreous.geometry.alignment import align_poses
from vitreous.geometry.rotations import mirror_rotations
from vitreous.geometry.symmetry import nearest_mates, point_group
from vitreous.typing import Float, Int, Rotations

REFERENCE_VIEWS = 5000
"""Reference views that CryoFastAR's rotation metric tries."""

LARGE_DEG = 10.0
"""Median error above which poses are wrong, or right but for a symmetry mate."""

_GROUPS = ("C2", "C3", "C4", "C5", "C6", "C7", "D2", "D3", "D4", "D5", "D7", "T", "O", "I")
_SAMPLE = 500
_AS_GOOD = 0.1


@dataclass(frozen=True)
class PoseErrors:
    """Errors of an estimated pose set against the truth.

    The F-norm of a rotation error θ is ``√8·sin(θ/2)``. All figures but ``paper_fnorm`` are taken after the best global
    rotation, translation and hand (:func:`vitreous.geometry.alignment.align_poses`).

    Attributes
    ----------
    particles
        How many poses were compared.
    mirrored
        Whether the estimate has the opposite hand.
    rotation, translation_A
        The global rotation [3, 3] and translation [3] from the (mirrored) estimate's frame to the truth's.
    errors_deg, shift_errors_px
        Rotation errors ``[n]``; length of the shift errors ``[n]``.
    fnorm_mean, fnorm_median
        F-norm.
    paper_fnorm
        CryoFastAR, equation 16: mean F-norm of the errors of the rotations relative to a reference view, for the best
        of 5,000 reference views.
    squared_fnorm_median
        CryoAI, table 1: median of the squared F-norm.
    median_deg, within_10_deg
        Median error, share of particles within 10°.
    shift_mean_px, shift_mean_A
        Mean length of the shift error (CryoFastAR, equation 17).
    squared_shift_mean_px2
        CryoAI, table 1: mean of the squared shift error.
    """

    particles: int
    mirrored: bool
    rotation: Float[Tensor, "3 3"]
    translation_A: Float[Tensor, " 3"]
    errors_deg: Float[Tensor, " n"]
    shift_errors_px: Float[Tensor, " n"]
    fnorm_mean: float
    fnorm_median: float
    paper_fnorm: float
    squared_fnorm_median: float
    median_deg: float
    within_10_deg: float
    shift_mean_px: float
    shift_mean_A: float
    squared_shift_mean_px2: float

    @property
    def hand(self) -> str:
        """``"same"`` or ``"mirrored"``."""
        return "mirrored" if self.mirrored else "same"

    def summary(self) -> dict[str, Any]:
        """Return the figures without the arrays, ready for JSON."""
        plain = {name: value for name, value in asdict(self).items() if not isinstance(value, torch.Tensor)}
        return {**plain, "hand": self.hand}


def compare_poses(estimate: Poses, truth: Poses, pixel_size_A: float, symmetry: str = "C1") -> PoseErrors:
    """Compare estimated with true poses of the same particles in the same order.

    Parameters
    ----------
    estimate, truth
        Poses, matched with :func:`match_on_ids` where they come from different tables.
    pixel_size_A
        Pixel in which shift errors are expressed.
    symmetry
        Point group; any symmetry mate of the truth counts as right.

    Raises
    ------
    InputError
        If the pose sets are empty or differ in length.
    ConfigError
        If the point group is unknown.
    """
    group = point_group(symmetry)
    differences = None if len(estimate) != len(truth) else estimate.shifts_A.double() - truth.shifts_A.double()
    fit = align_poses(estimate.rotations.double(), truth.rotations.double(), differences, group=group)
    fnorm = 8**0.5 * torch.sin(torch.deg2rad(fit.errors_deg) / 2)
    shift_px = fit.shift_errors_A.norm(dim=-1) / pixel_size_A
    # Each truth is replaced by its mate nearest to the aligned estimate, so that the paper's metric, which knows no
    # symmetry, applies.
    mates = nearest_mates(fit.rotations, truth.rotations.double(), group)
    own_hand = mirror_rotations(estimate.rotations) if fit.mirrored else estimate.rotations
    return PoseErrors(
        particles=len(truth),
        mirrored=fit.mirrored,
        rotation=fit.rotation,
        translation_A=fit.translation_A,
        errors_deg=fit.errors_deg,
        shift_errors_px=shift_px,
        fnorm_mean=float(fnorm.mean()),
        fnorm_median=float(fnorm.median()),
        paper_fnorm=paper_fnorm(own_hand, mates),
        squared_fnorm_median=float(fnorm.square().median()),
        median_deg=float(fit.errors_deg.median()),
        within_10_deg=float((fit.errors_deg < 10).double().mean()),
        shift_mean_px=float(shift_px.mean()),
        shift_mean_A=float(shift_px.mean()) * pixel_size_A,
        squared_shift_mean_px2=float(shift_px.square().mean()),
    )


def paper_fnorm(estimates: Rotations, truths: Rotations, reference_views: int = REFERENCE_VIEWS) -> float:
    """Return CryoFastAR's rotation error: the smallest mean error over reference views (equation 16, one hand).

    The error of view j with reference i is ``‖R_i R_jᵀ − R̂_i R̂_jᵀ‖``, which equals ``‖M_i − M_j‖`` with
    ``M = R̂ᵀ R``: the metric is the mean distance to the medoid of M. (The paper prints it for rotations that are the
    transposes of ours.) Reference views are drawn with a fixed seed, all of them where there are fewer.
    """
    relative = (estimates.double().transpose(-1, -2) @ truths.double()).flatten(-2)
    picked = torch.randperm(len(relative), generator=torch.Generator().manual_seed(0))[:reference_views]
    # Differences from a typical M keep small distances exact in float32.
    centred = (relative - relative.median(0).values).float()
    means = [torch.cdist(part, centred).mean(1) for part in torch.split(centred[picked], 256)]
    return float(torch.cat(means).min())


def fitting_group(estimate: Poses, truth: Poses) -> tuple[str, float] | None:
    """Find the point group whose mates explain errors that are large without one.

    Errors fall by chance, too, where mates are many: besides :data:`LARGE_DEG`, the median has to fall below half of
    what chance leaves, which poses of other particles tell. A subgroup explains a part of the particles, so of the
    groups that are left only those count whose share of particles within 10° is nearly the largest.

    Parameters
    ----------
    estimate, truth
        Poses of the same particles in the same order; 500 of them are looked at, evenly spaced.

    Returns
    -------
    Name of the first such group, cyclic groups before dihedral ones before polyhedral ones, and the median error in
    degrees that it leaves; None where there is none.

    Raises
    ------
    InputError
        If the pose sets are empty or differ in length.
    """
    if len(estimate) == len(truth):  # others are refused below
        some = torch.linspace(0, len(truth) - 1, min(len(truth), _SAMPLE)).long()
        estimate, truth = estimate.select(some), truth.select(some)
    others = truth.select(torch.randperm(len(truth), generator=torch.Generator().manual_seed(0)))
    fitting = []
    for group in _GROUPS:
        found = compare_poses(estimate, truth, 1.0, group)
        if found.median_deg < LARGE_DEG:
            by_chance = compare_poses(estimate, others, 1.0, group)
            fitting += [(group, found)] if found.median_deg < by_chance.median_deg / 2 else []
    most = max((found.within_10_deg for _, found in fitting), default=0.0)
    near = (found for found in fitting if found[1].within_10_deg >= most - _AS_GOOD)
    return next(((group, found.median_deg) for group, found in near), None)


def match_on_ids(
    estimate_ids: NDArray[Any], truth_ids: NDArray[Any], *, partial: bool = False
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Find the same particles in two tables by ``index@basename`` (folders and leading zeros do not matter).

    Parameters
    ----------
    estimate_ids, truth_ids
        Ids ``index@stack``.
    partial
        Compare the particles that both have, instead of refusing tables of which one lacks some.

    Returns
    -------
    Row numbers in the estimate and in the truth, in the order of the truth.

    Raises
    ------
    InputError
        If an id occurs twice, if nothing is shared, or (without ``partial``) if one table lacks particles.
    """
    tables = {"estimate": _rows_by_key(estimate_ids, "estimate"), "truth": _rows_by_key(truth_ids, "truth")}
    shared = [key for key in tables["truth"] if key in tables["estimate"]]
    for name, other in (("estimate", "truth"), ("truth", "estimate")):
        missing = [key for key in tables[other] if key not in tables[name]]
        if missing and not (partial and shared):
            raise InputError(
                f"the {name} lacks {len(missing)} of the {len(tables[other])} particles of the {other}",
                found=f"no {_a_few(missing)}",
                remedy="Compare the shared particles only (--shared-only), or give tables of the same particles"
                if shared
                else "Give two tables of the same stack: not one particle is shared",
            )
    rows = [torch.tensor([tables[name][key] for key in shared], dtype=torch.int64) for name in tables]
    return rows[0], rows[1]


def _rows_by_key(ids: NDArray[Any], table: str) -> dict[str, int]:
    keys = [_key(str(name)) for name in ids]
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) < len(keys):
        twice = [key for key, count in Counter(keys).items() if count > 1]
        raise InputError(
            f"{len(twice)} ids occur more than once in the {table}",
            found=_a_few(twice),
            remedy="Give every stack a file name of its own, and every particle one row",
        )
    return rows


def _key(name: str) -> str:
    index, found, stack = name.partition("@")
    if not found or not re.fullmatch(r"\d+", index.strip()):
        raise InputError(
            "a particle id is not index@stack", found=repr(name), remedy="Write ids like 000001@stack.mrcs"
        )
    return f"{int(index)}@{PurePosixPath(stack).name}"


def _a_few(keys: Sequence[str], limit: int = 5) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
