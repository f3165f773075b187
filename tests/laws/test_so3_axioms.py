"""The group axioms of the rotation code, over batch shapes, dtypes and the places where formulas go wrong."""

import math

import pytest
import torch

from vitreous.geometry import rotations as rot

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
KINDS = ["generic", "near identity", "identity", "near pi", "pi"]


def vectors(kind: str, n: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    axes = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=-1)
    scale = torch.logspace(-9, -3, n, dtype=torch.float64)[:, None]
    angle = {
        "generic": 0.1 + 2.8 * torch.rand(n, 1, generator=generator, dtype=torch.float64),
        "near identity": scale,
        "identity": torch.zeros(n, 1, dtype=torch.float64),
        "near pi": math.pi - scale,
        "pi": torch.full((n, 1), math.pi, dtype=torch.float64),
    }[kind]
    return (axes * angle).to(dtype)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=[1, 6, 200])
def n(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def R(kind: str, n: int, dtype: torch.dtype) -> torch.Tensor:
    return rot.rotation_from_vector(vectors(kind, n, dtype))


def others(n: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return rot.random_rotations(n, torch.Generator().manual_seed(seed)).to(dtype)


def close(first: torch.Tensor, second: torch.Tensor, factor: float = 4.0) -> None:
    assert first.dtype == second.dtype
    torch.testing.assert_close(first, second, atol=factor * TOLERANCE[first.dtype], rtol=0)


def identity(R: torch.Tensor) -> torch.Tensor:
    return torch.eye(3, dtype=R.dtype).expand_as(R)


def test_closure(R: torch.Tensor) -> None:
    product = R @ rot.rotation_from_vector(vectors("generic", len(R), R.dtype))
    close(product.mT @ product, identity(R))
    close(torch.linalg.det(product), torch.ones(len(R), dtype=R.dtype))


def test_identity_element(dtype: torch.dtype) -> None:
    assert torch.equal(
        rot.rotation_from_vector(torch.zeros(2, 3, dtype=dtype)), torch.eye(3, dtype=dtype).expand(2, 3, 3)
    )
    assert torch.equal(
        rot.rotation_from_euler(torch.zeros(2, 3, dtype=dtype)), torch.eye(3, dtype=dtype).expand(2, 3, 3)
    )
    quaternion = torch.tensor([[1.0, 0, 0, 0]], dtype=dtype)
    assert torch.equal(rot.rotation_from_quaternion(quaternion), torch.eye(3, dtype=dtype)[None])


def test_inverse(R: torch.Tensor, kind: str, n: int, dtype: torch.dtype) -> None:
    close(rot.rotation_from_vector(-vectors(kind, n, dtype)), R.mT)
    close(R @ R.mT, identity(R))


def test_associativity(R: torch.Tensor) -> None:
    S, T = others(len(R), R.dtype, 1), others(len(R), R.dtype, 2)
    close((R @ S) @ T, R @ (S @ T))


def test_exp_of_log(R: torch.Tensor) -> None:
    close(rot.rotation_from_vector(rot.vector_from_rotation(R)), R, factor=10)


def test_log_of_exp(n: int, dtype: torch.dtype) -> None:
    for kind in ("generic", "near identity", "identity"):
        v = vectors(kind, n, dtype)
        close(rot.vector_from_rotation(rot.rotation_from_vector(v)), v, factor=20)


def test_log_is_no_longer_than_pi(R: torch.Tensor) -> None:
    assert rot.vector_from_rotation(R).norm(dim=-1).max() <= math.pi + 10 * TOLERANCE[R.dtype]


def test_adjoint(R: torch.Tensor) -> None:
    """``R exp(v) Rᵀ = exp(R v)``."""
    v = vectors("generic", len(R), R.dtype)
    turned = torch.einsum("nij,nj->ni", R, v)
    close(R @ rot.rotation_from_vector(v) @ R.mT, rot.rotation_from_vector(turned), factor=10)


def test_rotation_about_its_own_axis(kind: str, n: int, dtype: torch.dtype) -> None:
    v = vectors(kind, n, dtype)
    close(torch.einsum("nij,nj->ni", rot.rotation_from_vector(v), v), v, factor=10)


def test_quaternion_round_trip(R: torch.Tensor) -> None:
    q = rot.quaternion_from_rotation(R)
    assert (q[:, 0] >= 0).all()
    close(q.norm(dim=-1), torch.ones(len(R), dtype=R.dtype))
    close(rot.rotation_from_quaternion(q), R, factor=10)
    close(rot.rotation_from_quaternion(-3 * q), R, factor=10)


def test_euler_round_trip(R: torch.Tensor) -> None:
    angles = rot.euler_from_rotation(R)
    assert ((angles[:, 1] >= 0) & (angles[:, 1] <= 180)).all()
    close(rot.rotation_from_euler(angles), R)


@pytest.mark.parametrize("tilt", [0.0, 1e-9, 1e-5, 180 - 1e-5, 180.0])
def test_euler_round_trip_at_the_poles(tilt: float, dtype: torch.dtype) -> None:
    free = torch.linspace(-180, 170, 8, dtype=dtype)
    rots, psis = torch.meshgrid(free, free, indexing="ij")
    angles = torch.stack([rots.flatten(), torch.full((64,), tilt, dtype=dtype), psis.flatten()], -1)
    R = rot.rotation_from_euler(angles)
    close(rot.rotation_from_euler(rot.euler_from_rotation(R)), R)


def test_angle_is_that_of_the_log(R: torch.Tensor, kind: str, n: int, dtype: torch.dtype) -> None:
    expected = torch.rad2deg(vectors(kind, n, dtype).norm(dim=-1))
    found = rot.rotation_angle_deg(R, identity(R))
    # near 180° the chord is flat: an error ε of it is √ε of the angle
    atol = {"pi": 0.2, "near pi": 0.2}.get(kind, 1e-4) if dtype == torch.float32 else 1e-5
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_angle_is_invariant_on_both_sides(R: torch.Tensor) -> None:
    S, T = others(len(R), R.dtype, 3), others(len(R), R.dtype, 4)
    base = rot.rotation_angle_deg(S, T)
    for turned in (rot.rotation_angle_deg(R @ S, R @ T), rot.rotation_angle_deg(S @ R, T @ R)):
        torch.testing.assert_close(turned, base, atol=2e-3 if R.dtype == torch.float32 else 1e-6, rtol=1e-4)


def test_the_mirror_is_an_automorphism(R: torch.Tensor) -> None:
    S = others(len(R), R.dtype, 5)
    close(rot.mirror_rotations(R @ S), rot.mirror_rotations(R) @ rot.mirror_rotations(S))
    close(rot.mirror_rotations(rot.mirror_rotations(R)), R)
    close(torch.linalg.det(rot.mirror_rotations(R)), torch.ones(len(R), dtype=R.dtype))


def test_the_exponential_is_differentiable_at_zero() -> None:
    v = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rot.rotation_from_vector, (v,))


def test_random_rotations_are_uniform() -> None:
    """Moments of the Haar measure: E[R] = 0, E[R_ij²] = 1/3, and P(angle ≤ 90°) = ½ − 1/π."""
    n = 40_000
    R = rot.random_rotations(n, torch.Generator().manual_seed(7)).double()
    sigma = (1 / 3 / n) ** 0.5
    assert R.mean(0).abs().max() < 5 * sigma
    assert (R.square().mean(0) - 1 / 3).abs().max() < 5 * (4 / 45 / n) ** 0.5
    share = (rot.rotation_angle_deg(R, torch.eye(3).double().expand_as(R)) <= 90).double().mean()
    assert abs(share - (0.5 - 1 / math.pi)) < 5 * (0.18 * 0.82 / n) ** 0.5
