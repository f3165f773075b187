"""Pose-set alignment recovers what was done to the poses."""

import pytest
import torch

from vitreous.errors import InputError
from vitreous.geometry.alignment import align_poses, nearest_rotation
from vitreous.geometry.rotations import (
    mirror_rotations,
    random_rotations,
    rotation_angle_deg,
    rotation_from_vector,
)
from vitreous.geometry.symmetry import point_group


def disturbed(truths: torch.Tensor, sigma_deg: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(len(truths), 3, generator=generator).to(truths)
    return rotation_from_vector(torch.deg2rad(noise * sigma_deg)) @ truths


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("wrong", [0.0, 0.4, 0.7])
def test_rotation_hand_and_translation_come_back(mirrored: bool, wrong: float, generator: torch.Generator) -> None:
    n = 1500
    truths, Q = random_rotations(n, generator).double(), random_rotations(1, generator).double()[0]
    aligned = disturbed(truths, 1.0, generator)
    aligned[: int(wrong * n)] = random_rotations(int(wrong * n), generator).double()
    translation = torch.tensor([4.0, -7.0, 11.0], dtype=torch.float64)
    noise = 0.3 * torch.randn(n, 2, generator=generator).double()
    differences = noise + (aligned @ translation)[:, :2]
    estimates = mirror_rotations(aligned @ Q) if mirrored else aligned @ Q
    fit = align_poses(estimates, truths, differences)
    assert fit.mirrored is mirrored
    assert rotation_angle_deg(fit.rotation[None], Q[None]) < 0.2
    torch.testing.assert_close(fit.translation_A, translation, atol=0.1, rtol=0)
    torch.testing.assert_close(fit.shift_errors_A, noise, atol=0.15, rtol=0)
    torch.testing.assert_close(fit.rotations, aligned, atol=4e-3, rtol=0)
    expected = rotation_angle_deg(aligned, truths)
    torch.testing.assert_close(fit.errors_deg, expected, atol=0.2, rtol=0)


def test_exact_poses_leave_no_error(generator: torch.Generator) -> None:
    truths, Q = random_rotations(100, generator).double(), random_rotations(1, generator).double()[0]
    fit = align_poses(truths @ Q, truths)
    assert fit.errors_deg.max() < 1e-5
    assert torch.equal(fit.shift_errors_A, torch.zeros(100, 2).double())


def test_one_pose_aligns_exactly(generator: torch.Generator) -> None:
    assert align_poses(random_rotations(1, generator), random_rotations(1, generator)).errors_deg.max() < 0.1


@pytest.mark.parametrize("name", ["C4", "D2", "T", "O", "I"])
def test_any_symmetry_mate_counts_as_right(name: str, generator: torch.Generator) -> None:
    group, n = point_group(name), 400
    truths, Q = random_rotations(n, generator).double(), random_rotations(1, generator).double()[0]
    mates = truths @ group[torch.randint(len(group), (n,), generator=generator)]
    fit = align_poses(disturbed(mates, 0.5, generator) @ Q, truths, group=group)
    assert not fit.mirrored
    assert fit.errors_deg.median() < 1.0
    member = rotation_angle_deg(fit.rotation.expand_as(group) @ Q.mT, group)
    assert member.min() < 0.2


def test_the_hand_can_be_held(generator: torch.Generator) -> None:
    truths = random_rotations(300, generator)
    fit = align_poses(mirror_rotations(truths), truths, allow_mirror=False)
    assert not fit.mirrored
    assert fit.errors_deg.median() > 60


def test_result_does_not_depend_on_the_global_rotation(generator: torch.Generator) -> None:
    truths = random_rotations(500, generator).double()
    estimates = disturbed(truths, 3.0, generator)
    Q = random_rotations(1, generator).double()[0]
    plain, turned = align_poses(estimates, truths), align_poses(estimates @ Q, truths)
    torch.testing.assert_close(plain.errors_deg, turned.errors_deg, atol=1e-6, rtol=0)


def test_a_rotation_is_never_a_reflection(generator: torch.Generator) -> None:
    for _ in range(20):
        matrix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
        R = nearest_rotation(matrix)
        assert torch.linalg.det(R) > 0.999
        nearby = rotation_from_vector(0.05 * torch.randn(50, 3, generator=generator, dtype=torch.float64)) @ R
        assert (nearby * matrix).sum((-1, -2)).max() <= (R * matrix).sum() + 1e-12


@pytest.mark.parametrize(("n", "m"), [(0, 0), (3, 2)])
def test_poses_that_do_not_match_are_refused(n: int, m: int, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="Match the particles"):
        align_poses(random_rotations(n, generator), random_rotations(m, generator))
