"""Public functions of geometry, fourier and evaluate leave their arguments as they were."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from vitreous.data import Poses, Volume
from vitreous.evaluate.maps import compare_maps, fsc_area
from vitreous.evaluate.per_image_fsc import one_image_per_state, per_image_fsc
from vitreous.evaluate.poses import compare_poses, fitting_group, match_on_ids, paper_fnorm
from vitreous.fourier import filters, shells, transform
from vitreous.fourier.frequencies import disc
from vitreous.geometry import alignment, grids, rotations, symmetry
from vitreous.reconstruct.align_maps import mirror_map, rotate_map


def make(kind: str) -> Any:
    generator = torch.Generator().manual_seed(1)
    R = rotations.random_rotations(12, generator)
    volume = torch.randn(8, 8, 8, generator=generator)
    return {
        "R": R,
        "R0": R[0].clone(),
        "group": symmetry.point_group("D2"),
        "vectors": torch.randn(12, 3, generator=generator),
        "quaternions": torch.randn(12, 4, generator=generator),
        "directions": grids.viewing_directions(R),
        "shifts": torch.randn(12, 2, generator=generator),
        "poses": Poses(R.clone(), torch.randn(12, 2, generator=generator)),
        "images": torch.randn(2, 8, 8, generator=generator),
        "map": volume,
        "volume": Volume(volume.clone(), 2.0),
        "spectrum": transform.rfft3_centred(volume),
        "half planes": transform.rfft2_centred(torch.randn(2, 8, 8, generator=generator)),
        "coefficients": disc(8, 3.0).gather(transform.rfft2_centred(torch.randn(2, 8, 8, generator=generator))),
        "curve": torch.rand(5, generator=generator).double(),
        "states": torch.tensor([0, 1, 1, 2]),
        "ids": np.array(["2@b.mrcs", "1@a.mrcs"]),
    }[kind]


CALLS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "rotation_from_euler": (rotations.rotation_from_euler, ("vectors",)),
    "euler_from_rotation": (rotations.euler_from_rotation, ("R",)),
    "rotation_from_vector": (rotations.rotation_from_vector, ("vectors",)),
    "vector_from_rotation": (rotations.vector_from_rotation, ("R",)),
    "rotation_from_quaternion": (rotations.rotation_from_quaternion, ("quaternions",)),
    "quaternion_from_rotation": (rotations.quaternion_from_rotation, ("R",)),
    "rotation_angle_deg": (rotations.rotation_angle_deg, ("R", "R")),
    "mirror_rotations": (rotations.mirror_rotations, ("R",)),
    "in_asymmetric_unit": (grids.in_asymmetric_unit, ("directions", "group")),
    "so3_grid": (lambda group: grids.so3_grid(2, 3, group), ("group",)),
    "rotations_around": (lambda R: grids.rotations_around(R, 5.0, 10.0), ("R",)),
    "viewing_directions": (lambda R: grids.viewing_directions(R).zero_(), ("R",)),
    "nearest_mates": (symmetry.nearest_mates, ("R", "R", "group")),
    "align_poses": (lambda *a: alignment.align_poses(*a[:3], group=a[3]), ("R", "R", "shifts", "group")),
    "nearest_rotation": (alignment.nearest_rotation, ("R0",)),
    "rfft2_centred": (transform.rfft2_centred, ("images",)),
    "irfft2_centred": (lambda F: transform.irfft2_centred(F, 8), ("half planes",)),
    "rfft3_centred": (transform.rfft3_centred, ("map",)),
    "irfft3_centred": (lambda F: transform.irfft3_centred(F, 8), ("spectrum",)),
    "centred_resize": (lambda x: transform.centred_resize(x, 12, (1, 2)), ("images",)),
    "fourier_crop": (lambda x: transform.fourier_crop(x, 5), ("images",)),
    "gather": (lambda F: disc(8, 3.0).gather(F), ("half planes",)),
    "scatter": (lambda values: disc(8, 3.0).scatter(values), ("coefficients",)),
    "radial_power": (shells.radial_power, ("map",)),
    "fsc": (shells.fsc, ("map", "map")),
    "fsc_of_transforms": (lambda a, b: shells.fsc_of_transforms(a, b, 8), ("spectrum", "spectrum")),
    "crossing_shell": (lambda curve: shells.crossing_shell(curve, 0.5), ("curve",)),
    "apply_radial": (filters.apply_radial, ("map", "curve")),
    "low_pass": (lambda x: filters.low_pass(x, 3.0), ("map",)),
    "mirror_map": (mirror_map, ("volume",)),
    "rotate_map": (rotate_map, ("volume", "R0")),
    "compare_poses": (lambda a, b: compare_poses(a, b, 2.0), ("poses", "poses")),
    "fitting_group": (fitting_group, ("poses", "poses")),
    "paper_fnorm": (paper_fnorm, ("R", "R")),
    "match_on_ids": (match_on_ids, ("ids", "ids")),
    "compare_maps": (lambda a, b, c: compare_maps(a, b, c, align=False), ("volume", "volume", "volume")),
    "compare_maps aligned": (compare_maps, ("volume", "volume")),
    "fsc_area": (fsc_area, ("curve",)),
    "per_image_fsc": (lambda a, b: per_image_fsc([(a, b)]), ("volume", "volume")),
    "one_image_per_state": (lambda s: one_image_per_state(s, torch.Generator().manual_seed(0)), ("states",)),
}


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Poses):
        return torch.equal(first.rotations, second.rotations) and torch.equal(first.shifts_A, second.shifts_A)
    if isinstance(first, Volume):
        return torch.equal(first.values, second.values)
    return bool((first == second).all())


@pytest.mark.parametrize("name", CALLS)
def test_inputs_are_untouched(name: str) -> None:
    call, kinds = CALLS[name]
    arguments, before = [make(kind) for kind in kinds], [make(kind) for kind in kinds]
    call(*arguments)
    assert all(same(now, then) for now, then in zip(arguments, before))
