"""Shell sums, FSC and the crossing rule."""

import pytest
import torch

from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.shells import crossing_shell, fsc, radial_power, resolution_A, shell_means, shell_sums


@pytest.mark.parametrize("box", [8, 9, 16])
def test_sums_count_the_whole_space(box: int) -> None:
    """Counted over all of Fourier space, not over the stored half."""
    k = torch.fft.fftfreq(box, 1 / box)
    radius = torch.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    shell = torch.floor(radius + 0.5).long().flatten()
    expected = torch.bincount(shell, minlength=box)[: box // 2 + 1]
    ones = torch.ones(box, box, box // 2 + 1)
    assert torch.equal(shell_sums(ones, box).long(), expected)
    assert torch.equal(shell_means(3 * ones, box), torch.full((box // 2 + 1,), 3.0).double())


@pytest.mark.parametrize("box", [8, 9])
def test_shell_k_reaches_from_k_minus_half_to_k_plus_half(box: int) -> None:
    radius = half_space_radii(box)
    means = shell_means(radius, box)
    k = torch.arange(box // 2 + 1)
    assert ((means >= k - 0.5) & (means < k + 0.5)).all()


@pytest.mark.parametrize("box", [15, 16])
def test_white_noise_has_flat_power(box: int, generator: torch.Generator) -> None:
    power = radial_power(2 * torch.randn(box, box, box, generator=generator)) / box**3
    counts = shell_sums(torch.ones(box, box, box // 2 + 1), box)
    assert ((power - 4).abs() < 5 * 4 * (2 / counts).sqrt()).all()


@pytest.mark.parametrize("box", [15, 16])
def test_fsc_of_a_map_with_itself_is_one(box: int, generator: torch.Generator) -> None:
    volume = torch.randn(box, box, box, generator=generator)
    torch.testing.assert_close(fsc(volume, volume), torch.ones(box // 2 + 1).double())
    torch.testing.assert_close(fsc(volume, -3 * volume), -torch.ones(box // 2 + 1).double())


def test_fsc_is_symmetric_and_blind_to_scale(generator: torch.Generator) -> None:
    first, second = torch.randn(2, 12, 12, 12, generator=generator)
    torch.testing.assert_close(fsc(first, second), fsc(5 * second, first))
    assert fsc(first, second).abs().max() <= 1


def test_an_empty_map_correlates_with_nothing(generator: torch.Generator) -> None:
    assert torch.equal(fsc(torch.zeros(8, 8, 8), torch.randn(8, 8, 8, generator=generator)), torch.zeros(5).double())


@pytest.mark.parametrize(("curve", "threshold", "expected"), [
    ([1.0, 0.9, 0.7, 0.3, 0.1], 0.5, 2.5),
    ([1.0, 0.9, 0.4, 0.9, 0.1], 0.5, 1.8),  # a dip: the first crossing counts
    ([1.0, 0.9, 0.8, 0.7, 0.6], 0.5, None),
    ([1.0, 0.2, 0.9, 0.9, 0.1], 0.5, 1.0),  # below from the start
    ([-1.0, 0.9, 0.8, 0.1, 0.1], 0.143, 3 - (0.143 - 0.1) / 0.7),  # shell 0 has no say
    ([1.0, 0.9, 0.5, 0.5, 0.4], 0.5, 3.0),  # touching is not crossing
])  # fmt: skip
def test_first_crossing(curve: list[float], threshold: float, expected: float | None) -> None:
    found = crossing_shell(torch.tensor(curve, dtype=torch.float64), threshold)
    assert found == (None if expected is None else pytest.approx(expected))


def test_resolution_of_a_curve_with_a_dip() -> None:
    """Box 8 at 2 Å: shell k is 16 Å / k."""
    curve = torch.tensor([1.0, 0.9, 0.4, 0.9, 0.1], dtype=torch.float64)
    assert resolution_A(curve, 0.5, 8, 2.0) == pytest.approx(16 / 1.8)
    assert resolution_A(torch.ones(5).double(), 0.5, 8, 2.0) == pytest.approx(4.0)
