"""Sharpening: the B-factor of a map that has one, found and undone."""

import pytest
import torch

from vitreous.data import ResolutionCurves, Volume
from vitreous.fourier.filters import apply_radial
from vitreous.fourier.shells import radial_power
from vitreous.reconstruct.postprocess import guinier_bfactor_A2, sharpen

BOX, VOXEL_SIZE_A = 64, 1.2


def map_with_bfactor(b_A2: float) -> Volume:
    """White noise, whose spectrum is flat, under an envelope ``exp(−B·s²/4)`` of amplitudes."""
    generator = torch.Generator().manual_seed(0)
    s = torch.arange(BOX // 2 + 1, dtype=torch.float64) / (BOX * VOXEL_SIZE_A)
    white = torch.randn(BOX, BOX, BOX, generator=generator)
    return Volume(apply_radial(white, torch.exp(-b_A2 * s**2 / 4)), VOXEL_SIZE_A)


def perfect_curves() -> ResolutionCurves:
    frequency = torch.arange(BOX // 2 + 1, dtype=torch.float64) / (BOX * VOXEL_SIZE_A)
    return ResolutionCurves(frequency, torch.ones_like(frequency))


@pytest.mark.parametrize("b_A2", [30.0, 80.0, 200.0])
def test_bfactor_of_a_map_is_found(b_A2: float) -> None:
    found = guinier_bfactor_A2(map_with_bfactor(b_A2), torch.ones(BOX // 2 + 1).double(), 2.6)
    assert found == pytest.approx(-b_A2, abs=3)


def test_sharpening_undoes_the_envelope() -> None:
    sharpened = sharpen(map_with_bfactor(100.0), perfect_curves(), 2.6, None)
    assert sharpened.bfactor_A2 == pytest.approx(-100, abs=3)
    power = radial_power(sharpened.volume.values)[4:28]
    torch.testing.assert_close(power / power.mean(), torch.ones_like(power), atol=0.15, rtol=0)


def test_a_given_bfactor_is_used_and_zero_switches_it_off() -> None:
    volume = map_with_bfactor(50.0)
    untouched = sharpen(volume, perfect_curves(), 2.6, 0.0)
    ratio = (radial_power(untouched.volume.values) / radial_power(volume.values))[1:31]
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)
    assert sharpen(volume, perfect_curves(), 2.6, -40.0).bfactor_A2 == -40.0


def test_no_line_is_fitted_through_too_few_shells() -> None:
    assert guinier_bfactor_A2(map_with_bfactor(50.0), torch.ones(BOX // 2 + 1).double(), 9.0) == 0


def test_a_map_is_never_blurred_by_a_fit() -> None:
    assert guinier_bfactor_A2(map_with_bfactor(-60.0), torch.ones(BOX // 2 + 1).double(), 2.6) == 0


def test_shells_without_signal_are_removed() -> None:
    curves = perfect_curves()
    fallen = curves.unmasked.clone()
    fallen[20:] = -0.1
    made = sharpen(map_with_bfactor(0.0), ResolutionCurves(curves.frequency_per_A, fallen), 4.0, 0.0)
    power = radial_power(made.volume.values)
    assert float(power[22:].max()) < 1e-6 * float(power[10])
