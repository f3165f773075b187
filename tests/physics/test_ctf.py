"""The CTF against its formula written out in float64, against textbook values, and in its gradients."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vitreous.data import Optics
from vitreous.fourier.frequencies import half_plane_indices
from vitreous.physics.ctf import ctf_half_plane, electron_wavelength_A, evaluate_ctf

PLANCK, ELECTRON_MASS, CHARGE, LIGHT = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 299792458.0


def wavelength_A(voltage_kV: float) -> float:
    """Relativistic wavelength from the constants of nature (CODATA 2018)."""
    energy = CHARGE * voltage_kV * 1e3
    momentum = math.sqrt(2 * ELECTRON_MASS * energy * (1 + energy / (2 * ELECTRON_MASS * LIGHT**2)))
    return PLANCK / momentum * 1e10


def make_optics(**columns: list[float]) -> Optics:
    n = max(len(values) for values in columns.values())
    defaults = {
        "voltage_kV": 300.0,
        "cs_mm": 2.7,
        "amplitude_contrast": 0.1,
        "defocus_u_A": 15000.0,
        "defocus_v_A": 14000.0,
        "defocus_angle_deg": 35.0,
        "phase_shift_deg": 0.0,
        "bfactor_A2": 0.0,
    }
    arrays = {name: columns.get(name, [value] * n) for name, value in defaults.items()}
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in arrays.items()}
    return Optics(**tensors, group=torch.zeros(n, dtype=torch.int64))


def formula(optics: Optics, i: int, sx: np.ndarray, sy: np.ndarray) -> np.ndarray:
    """``√(1 − w²)·sin χ + w·cos χ``, term by term."""
    lam = float(electron_wavelength_A(optics.voltage_kV[i : i + 1]))
    u, v = float(optics.defocus_u_A[i]), float(optics.defocus_v_A[i])
    angle = np.arctan2(sy, sx) - math.radians(float(optics.defocus_angle_deg[i]))
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * angle)
    g2 = sx**2 + sy**2
    chi = math.pi * lam * g2 * (defocus - 0.5 * lam**2 * g2 * float(optics.cs_mm[i]) * 1e7)
    chi = chi + math.radians(float(optics.phase_shift_deg[i]))
    w = float(optics.amplitude_contrast[i])
    envelope = np.exp(-float(optics.bfactor_A2[i]) * g2 / 4)
    return (math.sqrt(1 - w * w) * np.sin(chi) + w * np.cos(chi)) * envelope


@pytest.mark.parametrize(("voltage_kV", "expected_A"), [(100, 0.0370), (120, 0.0335), (200, 0.0251), (300, 0.0197)])
def test_wavelength_of_electrons(voltage_kV: float, expected_A: float) -> None:
    """Textbook values (Williams & Carter, Transmission Electron Microscopy, table 1.2) and the constants of nature."""
    found = float(electron_wavelength_A(torch.tensor([voltage_kV], dtype=torch.float64)))
    assert found == pytest.approx(expected_A, abs=5e-5)
    assert found == pytest.approx(wavelength_A(voltage_kV), rel=1e-5)


@pytest.mark.parametrize(
    "columns",
    [
        {"defocus_u_A": [5000.0, 12000.0, 45000.0], "defocus_v_A": [5000.0, 12000.0, 45000.0]},
        {"defocus_angle_deg": [0.0, 35.0, 90.0, 150.0, -20.0]},
        {"phase_shift_deg": [0.0, 45.0, 90.0, 135.0]},
        {"voltage_kV": [80.0, 200.0, 300.0], "cs_mm": [0.01, 2.0, 2.7]},
        {"amplitude_contrast": [0.0, 0.07, 0.2, 1.0]},
        {"bfactor_A2": [0.0, 50.0, 200.0]},
        {"defocus_u_A": [-8000.0, 100.0], "defocus_v_A": [-9000.0, -100.0]},
    ],
)
def test_ctf_equals_its_formula(columns: dict[str, list[float]]) -> None:
    optics = make_optics(**columns)
    axis = torch.linspace(-0.4, 0.4, 41, dtype=torch.float64)  # beyond 3 Å, where phases reach hundreds of turns
    sy, sx = torch.meshgrid(axis, axis, indexing="ij")
    found = evaluate_ctf(optics, sx, sy)
    assert found.dtype == torch.float32
    for i in range(len(optics)):
        np.testing.assert_allclose(found[i].numpy(), formula(optics, i, sx.numpy(), sy.numpy()), atol=2e-6)


def test_zero_crossings_of_a_perfect_lens() -> None:
    """Without Cs and amplitude contrast the CTF vanishes where ``λ·Δf·g²`` is a whole number."""
    optics = make_optics(defocus_u_A=[16000.0], defocus_v_A=[16000.0], cs_mm=[0.0], amplitude_contrast=[0.0])
    lam = float(electron_wavelength_A(torch.tensor([300.0], dtype=torch.float64)))
    turns = torch.arange(1, 12, dtype=torch.float64)
    g = (turns / (lam * 16000.0)).sqrt()
    assert evaluate_ctf(optics, g, torch.zeros_like(g)).abs().max() < 1e-5
    between = ((turns - 0.5) / (lam * 16000.0)).sqrt()
    signs = evaluate_ctf(optics, between, torch.zeros_like(g))[0]
    torch.testing.assert_close(signs, (-1.0) ** torch.arange(0, 11), atol=1e-5, rtol=0)


def test_astigmatism_is_largest_along_its_axis() -> None:
    """Along the angle, from x towards y, the CTF is that of u; across it, that of v."""
    optics = make_optics(defocus_u_A=[18000.0], defocus_v_A=[11000.0], defocus_angle_deg=[30.0])
    g = torch.linspace(0, 0.2, 50, dtype=torch.float64)
    for angle_deg, defocus in ((30.0, 18000.0), (120.0, 11000.0), (-60.0, 11000.0), (75.0, 14500.0)):
        angle = math.radians(angle_deg)
        along = evaluate_ctf(optics, g * math.cos(angle), g * math.sin(angle))
        round_lens = make_optics(defocus_u_A=[defocus], defocus_v_A=[defocus])
        torch.testing.assert_close(along, evaluate_ctf(round_lens, g, torch.zeros_like(g)), atol=1e-5, rtol=0)


def test_quarter_wave_phase_plate_turns_sine_into_cosine() -> None:
    g = torch.linspace(0, 0.2, 50, dtype=torch.float64)
    zero = torch.zeros_like(g)
    shifted = evaluate_ctf(make_optics(phase_shift_deg=[90.0], amplitude_contrast=[0.0]), g, zero)
    contrast = evaluate_ctf(make_optics(amplitude_contrast=[1.0]), g, zero)
    torch.testing.assert_close(shifted, contrast, atol=1e-5, rtol=0)


def test_envelope_halves_where_it_should() -> None:
    g = torch.tensor([math.sqrt(4 * math.log(2) / 100)], dtype=torch.float64)
    zero = torch.zeros_like(g)
    plain, damped = (evaluate_ctf(make_optics(bfactor_A2=[b]), g, zero) for b in (0.0, 100.0))
    torch.testing.assert_close(damped, plain / 2, atol=1e-6, rtol=0)


def test_under_focus_is_positive_at_low_frequency() -> None:
    g = torch.tensor([0.01], dtype=torch.float64)
    assert evaluate_ctf(make_optics(amplitude_contrast=[0.07]), g, torch.zeros_like(g)) > 0.07
    over = make_optics(amplitude_contrast=[0.0], defocus_u_A=[-15000.0], defocus_v_A=[-15000.0])
    assert evaluate_ctf(over, g, torch.zeros_like(g)) < 0


def test_no_ctf_is_one_everywhere() -> None:
    assert bool((ctf_half_plane(Optics.without_ctf(2), 33, 1.1) == 1).all())


@pytest.mark.parametrize("box", [16, 17])
def test_half_plane_holds_the_ctf_at_its_frequencies(box: int) -> None:
    optics = make_optics(defocus_angle_deg=[10.0, 70.0])
    kx, ky = half_plane_indices(box)
    found = ctf_half_plane(optics, box, 1.7)
    assert found.shape == (2, box, box // 2 + 1)
    for y, x in ((0, 0), (1, 3), (box - 2, 5), (box // 2, 2)):
        s = np.array([float(kx[y, x]), float(ky[y, x])]) / (box * 1.7)
        assert float(found[1, y, x]) == pytest.approx(float(formula(optics, 1, s[0], s[1])), abs=2e-6)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("defocus_u_A", 1.0),
        ("defocus_v_A", 1.0),
        ("defocus_angle_deg", 0.05),
        ("phase_shift_deg", 0.05),
        ("cs_mm", 0.001),
        ("amplitude_contrast", 0.001),
        ("bfactor_A2", 0.5),
        ("voltage_kV", 0.01),
    ],
)
def test_gradients_equal_finite_differences(name: str, step: float) -> None:
    optics = make_optics(defocus_u_A=[15000.0, 9000.0], defocus_v_A=[14000.0, 9500.0], bfactor_A2=[30.0, 60.0])
    g = torch.linspace(0.02, 0.15, 30, dtype=torch.float64)
    weight = torch.cos(torch.arange(30.0))
    value = getattr(optics, name)

    def total(delta: float) -> torch.Tensor:
        moved = evaluate_ctf(replace(optics, **{name: value + delta}), g, 0.3 * g)
        return (moved * weight).double().sum(1)

    leaf = value.clone().requires_grad_()
    out = (evaluate_ctf(replace(optics, **{name: leaf}), g, 0.3 * g) * weight).sum()
    (found,) = torch.autograd.grad(out, leaf)
    expected = (total(step) - total(-step)) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=float(expected.abs().max()) * 2e-3)
