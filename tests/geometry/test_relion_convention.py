"""Euler angles against scipy and against the words of RELION's convention."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from vitreous.geometry.rotations import (
    euler_from_rotation,
    quaternion_from_rotation,
    random_rotations,
    rotation_from_euler,
    rotation_from_quaternion,
    rotation_from_vector,
    vector_from_rotation,
)


def random_angles(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([360.0, 180.0, 360.0]).double() - (
        torch.tensor([180.0, 0.0, 180.0]).double()
    )


def test_matrix_is_the_inverse_of_scipys_intrinsic_zyz() -> None:
    """RELION states rotations of the coordinate system, scipy rotations of the vectors: one is the other's inverse."""
    angles = random_angles(500)
    expected = Rotation.from_euler("ZYZ", angles.numpy(), degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(rotation_from_euler(angles).numpy(), expected, atol=1e-14)


def test_angles_come_back() -> None:
    angles = random_angles(500)
    torch.testing.assert_close(euler_from_rotation(rotation_from_euler(angles)), angles, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("angles", "particle", "lab"),
    [
        ((90, 0, 0), (1, 0, 0), (0, -1, 0)),  # rot turns the axes by +90° about z, so the particle by −90°
        ((0, 90, 0), (1, 0, 0), (0, 0, 1)),
        ((0, 0, 90), (1, 0, 0), (0, -1, 0)),
        ((30, 90, 0), (np.cos(np.pi / 6), np.sin(np.pi / 6), 0), (0, 0, 1)),  # (rot, tilt) point along the beam
    ],
)
def test_hand_made_cases(angles: tuple[float, ...], particle: tuple[float, ...], lab: tuple[float, ...]) -> None:
    R = rotation_from_euler(torch.tensor([angles], dtype=torch.float64))[0]
    np.testing.assert_allclose(R.numpy() @ np.array(particle), lab, atol=1e-15)


def test_vectors_and_quaternions_agree_with_scipy() -> None:
    R = random_rotations(300, torch.Generator().manual_seed(1)).double()
    scipy = Rotation.from_matrix(R.numpy())
    np.testing.assert_allclose(vector_from_rotation(R).numpy(), scipy.as_rotvec(), atol=1e-6)
    np.testing.assert_allclose(
        quaternion_from_rotation(R).numpy(), scipy.as_quat(canonical=True, scalar_first=True), atol=1e-6
    )
    vectors = torch.from_numpy(scipy.as_rotvec())
    np.testing.assert_allclose(rotation_from_vector(vectors).numpy(), scipy.as_matrix(), atol=1e-12)
    quaternions = torch.from_numpy(scipy.as_quat(scalar_first=True))
    np.testing.assert_allclose(rotation_from_quaternion(quaternions).numpy(), scipy.as_matrix(), atol=1e-12)
