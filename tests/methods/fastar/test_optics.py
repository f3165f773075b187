"""Random CTFs are those of the physics, and the means over rings are means."""

import math
from dataclasses import replace

import pytest
import torch

from vitreous.data import Optics
from vitreous.methods.fastar.optics import DrawnOptics, OpticsRange, ring_means
from vitreous.physics.ctf import ctf_half_plane

WIDE = OpticsRange(astigmatism=0.2)


def as_particles(drawn: DrawnOptics) -> Optics:
    """The same optics, one particle per view, set after set."""
    b, n = drawn.defocus_A.shape
    half = 0.5 * drawn.astigmatism[:, None]
    per_view = {
        "voltage_kV": drawn.voltage_kV[:, None].expand(b, n),
        "cs_mm": drawn.cs_mm[:, None].expand(b, n),
        "amplitude_contrast": drawn.amplitude_contrast[:, None].expand(b, n),
        "defocus_u_A": drawn.defocus_A * (1 + half),
        "defocus_v_A": drawn.defocus_A * (1 - half),
        "defocus_angle_deg": drawn.astigmatism_angle_deg[:, None].expand(b, n),
    }
    flat = {name: value.double().flatten() for name, value in per_view.items()}
    return replace(Optics.without_ctf(b * n), **flat)


@pytest.mark.parametrize("box", [32, 33])
def test_ctf_is_that_of_the_physics(box: int, generator: torch.Generator) -> None:
    drawn = WIDE.draw(5, 3, generator)
    for field_A in (125.0, 400.0):  # up to 1/8 and 1/25 Å
        found = drawn.ctf(torch.full((5,), field_A), box).flatten(0, 1)
        expected = ctf_half_plane(as_particles(drawn), box, field_A / box)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        assert found.min() < -0.9


def test_every_set_has_its_own_field(generator: torch.Generator) -> None:
    drawn, fields = WIDE.draw(3, 2, generator), torch.tensor([150.0, 300.0, 500.0])
    together = drawn.ctf(fields, 32)
    for k, field in enumerate(fields):
        torch.testing.assert_close(together[k], drawn.ctf(field.expand(3), 32)[k])


def test_drawn_values_keep_their_ranges(generator: torch.Generator) -> None:
    drawn = OpticsRange().draw(2000, 2, generator)
    assert set(drawn.voltage_kV.tolist()) == {200.0, 300.0}
    assert float((drawn.voltage_kV == 300).float().mean()) == pytest.approx(2 / 3, abs=0.04)
    limits = {"amplitude_contrast": (0.07, 0.1), "astigmatism": (0.0, 0.03), "astigmatism_angle_deg": (0.0, 180.0)}
    for name, (low, high) in limits.items():
        values = getattr(drawn, name)
        assert low <= float(values.min()) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < float(values.max()) <= high
    assert float(drawn.defocus_A.min()) >= 0.3 * 7000
    assert float(drawn.defocus_A.max()) <= 2 * 28000
    typical = float(drawn.defocus_A.log().mean().exp())
    assert typical == pytest.approx(1e4 * math.sqrt(0.7 * 2.8), rel=0.08)  # log-uniform, narrowed by the spread


@pytest.mark.parametrize("box", [16, 17])
def test_ring_means_are_means_over_shells(box: int, generator: torch.Generator) -> None:
    values = torch.rand(2, 3, box, box // 2 + 1, generator=generator)
    found = ring_means(values, box)
    assert found.shape == (2, 3, box // 2 - 1)
    ky = torch.fft.fftfreq(box, 1 / box).tolist()
    rings: dict[int, list[torch.Tensor]] = {}
    for row, y in enumerate(ky):
        for x in range(box // 2 + 1):
            rings.setdefault(math.floor(math.hypot(x, y) + 0.5), []).append(values[..., row, x])
    for shell in range(1, box // 2):
        torch.testing.assert_close(found[..., shell - 1], torch.stack(rings[shell]).mean(0))
