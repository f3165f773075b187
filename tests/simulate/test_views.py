import math

import pytest
import torch

from vitreous.geometry.rotations import euler_from_rotation, rotation_angle_deg
from vitreous.simulate.views import preferred_views, rotations_of_beams, uniform_views


def kolmogorov(values: torch.Tensor, distribution: torch.Tensor) -> float:
    """Largest distance between the empirical and the stated distribution, times the root of n."""
    n = len(values)
    expected = distribution[torch.argsort(values)]
    steps = torch.arange(n + 1) / n
    return float(torch.maximum((steps[1:] - expected).abs(), (expected - steps[:-1]).abs()).max()) * math.sqrt(n)


def test_uniform_views_have_the_angles_of_haar_measure() -> None:
    R = uniform_views(4000, seed=3)
    angle = torch.deg2rad(rotation_angle_deg(R, torch.eye(3).expand(4000, 3, 3)).double())
    assert kolmogorov(angle, (angle - angle.sin()) / math.pi) < 1.63  # 1 % point of Kolmogorov's distribution


@pytest.mark.parametrize("lab_axis", [0, 1, 2])
def test_uniform_views_see_every_direction_alike(lab_axis: int) -> None:
    beams = uniform_views(4000, seed=1)[:, lab_axis].double()
    for component in beams.T:
        assert kolmogorov(component, (component + 1) / 2) < 1.63


@pytest.mark.parametrize("concentration", [0.0, 0.5, 5.0, 100.0])
def test_preferred_views_follow_von_mises_and_fisher(concentration: float) -> None:
    axis = (1.0, -2.0, 0.5)
    R = preferred_views(4000, 7, axis, concentration).double()
    unit = torch.tensor(axis, dtype=torch.float64) / math.hypot(*axis)
    along = R[:, 2] @ unit
    if concentration == 0:
        expected = (along + 1) / 2
    else:
        expected = (torch.exp(concentration * (along - 1)) - math.exp(-2 * concentration)) / (
            1 - math.exp(-2 * concentration)
        )
    assert kolmogorov(along, expected) < 1.63


def test_preferred_views_are_free_in_plane_and_about_the_axis() -> None:
    R = preferred_views(4000, 2, (0.0, 0.0, 1.0), 5.0)
    rot, _, psi = euler_from_rotation(R).double().unbind(1)
    for angle in (rot, psi):
        assert kolmogorov(angle, (angle + 180) / 360) < 1.63


def test_rotations_are_proper() -> None:
    R = preferred_views(100, 2, (0.3, 0.1, -1.0), 5.0).double()
    torch.testing.assert_close(R @ R.mT, torch.eye(3).double().expand(100, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(100).double(), atol=1e-6, rtol=0)


def test_the_beam_is_brought_to_lab_z(generator: torch.Generator) -> None:
    beams = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64), dim=1)
    R = rotations_of_beams(beams, torch.linspace(0, 350, 50, dtype=torch.float64))
    torch.testing.assert_close((R @ beams[:, :, None])[:, :, 0], torch.tensor([0.0, 0.0, 1.0]).double().expand(50, 3))
