"""Resolution curves: phase randomisation, the mask's share, and what an FSC says of the noise."""

import pytest
import torch

from tests.physics.blobs import make_blobs
from vitreous.data import ResolutionCurves, Volume
from vitreous.fourier.filters import low_pass, randomise_phases
from vitreous.fourier.shells import fsc, radial_power
from vitreous.reconstruct.half_maps import half_map_curves, mask_warning, resolution_of, signal_to_noise
from vitreous.reconstruct.masks import sphere_mask
from vitreous.reconstruct.postprocess import figure_of_merit

VOXEL_SIZE_A = 2.0


def noisy_halves(box: int, noise: float, seed: int = 0) -> tuple[Volume, Volume]:
    generator = torch.Generator().manual_seed(seed)
    signal = make_blobs(box, sigma=1.5).map(box).float()
    first, second = (
        Volume(signal + noise * torch.randn(box, box, box, generator=generator), VOXEL_SIZE_A) for _ in range(2)
    )
    return first, second


@pytest.mark.parametrize("box", [32, 33])
def test_randomising_phases_keeps_amplitudes_and_low_frequencies(box: int, generator: torch.Generator) -> None:
    values = make_blobs(box).map(box).float() + 0.01 * torch.randn(box, box, box, generator=generator)
    randomised = randomise_phases(values, 6.0, generator)
    power = radial_power(values)
    torch.testing.assert_close(radial_power(randomised), power, rtol=1e-3, atol=float(power[-1]) * 1e-2)
    curve = fsc(values, randomised)
    assert float(curve[1:6].min()) > 0.9999
    assert float(curve[8:].abs().max()) < 0.3
    assert float(curve[8:].abs().mean()) < 0.06


def test_a_tight_mask_correlates_noise_and_the_correction_takes_it_back() -> None:
    """Independent noise under one small mask: the masked FSC rises, the corrected one does not (Chen et al. 2013)."""
    box = 48
    generator = torch.Generator().manual_seed(2)
    signal = low_pass(make_blobs(box, sigma=3.0).map(box).float(), 6.0)
    halves = [Volume(signal + 0.3 * torch.randn(box, box, box, generator=generator), VOXEL_SIZE_A) for _ in range(2)]
    mask = sphere_mask(box, 5.0, 1.0)
    curves = half_map_curves((halves[0], halves[1]), mask)
    assert curves.masked is not None
    assert curves.corrected is not None
    assert curves.randomised_from_per_A is not None
    start = round(curves.randomised_from_per_A * box * VOXEL_SIZE_A) + 2
    assert float(curves.corrected[start:].mean().abs()) < 0.1
    assert torch.equal(curves.corrected[:start], curves.masked[:start])


def test_without_signal_nothing_is_claimed() -> None:
    generator = torch.Generator().manual_seed(4)
    halves = [Volume(torch.randn(32, 32, 32, generator=generator), VOXEL_SIZE_A) for _ in range(2)]
    curves = half_map_curves((halves[0], halves[1]), sphere_mask(32, 10.0))
    assert resolution_of(curves) > 32 * VOXEL_SIZE_A / 4


@pytest.mark.parametrize("box", [32, 33])
def test_fsc_of_noisy_halves_is_signal_over_signal_plus_noise(box: int) -> None:
    """And the SNR formula inverts it: the full map has half the noise of a half-map."""
    noise = 0.05
    curves = half_map_curves(noisy_halves(box, noise), None)
    signal = radial_power(make_blobs(box, sigma=1.5).map(box).float())
    power = noise**2 * box**3
    shells = slice(3, 8)
    expected = signal / (signal + power)
    torch.testing.assert_close(curves.unmasked[shells], expected[shells], atol=0.06, rtol=0)
    snr = signal_to_noise(curves.unmasked)
    torch.testing.assert_close(snr[shells].log(), (signal / (power / 2))[shells].log(), atol=0.5, rtol=0)


def test_snr_and_figure_of_merit_of_given_curves() -> None:
    curve = torch.tensor([1.0, 0.5, 1 / 3, 0.143, -0.01, 0.4], dtype=torch.float64)
    torch.testing.assert_close(signal_to_noise(curve)[1:3], torch.tensor([2.0, 1.0]).double())
    assert signal_to_noise(curve)[4:].abs().max() == 0  # nothing returns after the first fall to zero
    assert float(figure_of_merit(curve)[2]) == pytest.approx(0.5**0.5)
    assert float(figure_of_merit(curve)[3]) == pytest.approx(0.5, abs=1e-3)  # why 0.143 is the threshold
    assert figure_of_merit(curve)[4:].abs().max() == 0


def test_identical_halves_resolve_to_nyquist() -> None:
    volume = noisy_halves(32, 0.01)[0]
    assert resolution_of(half_map_curves((volume, volume), None)) == pytest.approx(2 * VOXEL_SIZE_A)


def test_mask_warning_speaks_at_the_claimed_resolution() -> None:
    frequency = torch.arange(17, dtype=torch.float64) / 64
    flat = torch.full((17,), 0.5, dtype=torch.float64)
    randomised = torch.zeros(17, dtype=torch.float64)
    randomised[8] = 0.2
    curves = ResolutionCurves(frequency, flat, flat, randomised, flat, 0.05)
    warning = mask_warning(curves, 8.0)
    assert warning is not None
    assert "0.20 at 8.0 Å" in warning
    assert mask_warning(curves, 16.0) is None
    assert mask_warning(ResolutionCurves(frequency, flat), 8.0) is None
