"""FSC in cones: the plain FSC where maps are isotropic, and a missing cone in its place."""

import math

import pytest
import torch

from vitreous.analysis.conical_fsc import cone_axes, conical_fsc, sphericity
from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.shells import fsc
from vitreous.fourier.transform import irfft3_centred, rfft3_centred
from vitreous.geometry.grids import fibonacci_directions


def noise(box: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(box, box, box, generator=generator)


def off_axis_deg(box: int, axis: tuple[float, float, float]) -> torch.Tensor:
    """Angle of every half-space coefficient to an axis ``(x, y, z)`` or its opposite."""
    k = torch.fft.fftfreq(box, 1 / box)
    kx = torch.arange(box // 2 + 1).float()
    along = kx * axis[0] + k[:, None] * axis[1] + k[:, None, None] * axis[2]
    cosine = along.abs() / half_space_radii(box).clamp_min(1) / math.hypot(*axis)
    return torch.rad2deg(torch.acos(cosine.clamp(0, 1)))


@pytest.mark.parametrize("box", [24, 25])
def test_widest_cone_is_the_plain_fsc(box: int, generator: torch.Generator) -> None:
    first = noise(box, generator)
    second = first + noise(box, generator)
    curves = conical_fsc(first, second, cone_axes(5), 90.0)
    torch.testing.assert_close(curves, fsc(first, second).expand(5, -1), atol=1e-5, rtol=0)


def test_cones_of_isotropic_maps_are_the_plain_fsc(generator: torch.Generator) -> None:
    """White signal with white noise of the same power: FSC 1/2 in every direction, up to the noise of the counts."""
    signal = noise(64, generator)
    first, second = (signal + noise(64, generator) for _ in range(2))
    curves, plain = conical_fsc(first, second, cone_axes()), fsc(first, second)
    in_cone = 4 * math.pi * torch.arange(33).double() ** 2 * (1 - math.cos(math.radians(20))) / 2
    sigma = (1 - 0.25) / in_cone.sqrt()
    off = ((curves - plain) / sigma)[:, 10:]
    assert off.abs().mean() < 1.0
    assert off.mean().abs() < 0.1
    assert curves[:, 10:].mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(curves[:, :4], plain[:4].expand(200, -1), atol=1e-5, rtol=0)  # too few in a cone


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.6, -0.48, 0.64)])
def test_a_missing_cone_shows_in_its_direction_and_only_there(
    axis: tuple[float, float, float], generator: torch.Generator
) -> None:
    """Signal taken out of a cone of 30° beyond shell 8; noise stays."""
    box = 48
    signal = 3 * rfft3_centred(noise(box, generator))
    gone = (off_axis_deg(box, axis) < 30) & (half_space_radii(box) > 8)
    signal[gone] = 0
    first, second = (irfft3_centred(signal, box) + noise(box, generator) for _ in range(2))
    axes = cone_axes()
    beyond = conical_fsc(first, second, axes)[:, 12:].mean(1)
    angle_deg = torch.rad2deg(torch.acos((axes @ torch.tensor(axis)).abs().clamp_max(1)))
    assert beyond[angle_deg < 8].abs().max() < 0.1
    assert beyond[angle_deg > 52].min() == pytest.approx(0.9, abs=0.03)


def test_scale_of_the_maps_has_no_say(generator: torch.Generator) -> None:
    first, second = noise(24, generator), noise(24, generator)
    curves = conical_fsc(first, second, cone_axes(20))
    torch.testing.assert_close(conical_fsc(3 * second, 0.5 * first, cone_axes(20)), curves, atol=1e-5, rtol=0)
    assert curves.abs().max() <= 1 + 1e-6


def test_an_empty_map_correlates_with_nothing(generator: torch.Generator) -> None:
    assert torch.count_nonzero(conical_fsc(torch.zeros(16, 16, 16), noise(16, generator), cone_axes(10))) == 0


def test_a_sphere_is_round() -> None:
    assert sphericity(cone_axes(), torch.full((200,), 3.7)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("ratio", [0.3, 0.6])
def test_sphericity_of_an_oblate_spheroid(ratio: float) -> None:
    """Against the area of the spheroid of semi-axes 1, 1, ratio."""
    axes = fibonacci_directions(4000)[:2000].double()
    radii = (axes[:, :2].square().sum(1) + (axes[:, 2] / ratio).square()).rsqrt()
    e = math.sqrt(1 - ratio**2)
    area = 2 * math.pi * (1 + (1 - e**2) / e * math.atanh(e))
    expected = (36 * math.pi * (4 / 3 * math.pi * ratio) ** 2) ** (1 / 3) / area
    assert sphericity(axes, radii) == pytest.approx(expected, rel=0.01)
