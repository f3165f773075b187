"""The native quotient against its plain twin."""

import pytest
import torch

from vitreous.fourier.frequencies import disc
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.slices import SliceAccumulator, map_from_grid
from vitreous.reconstruct.backprojection import quotient_plain, shell_weights, shell_weights_plain, solve


def accumulated(box: int, threads: int, generator: torch.Generator) -> SliceAccumulator:
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    out = SliceAccumulator(box, threads=threads)
    values = torch.randn(40, len(k[0]), generator=generator, dtype=torch.complex64)
    out.add(random_rotations(40, generator), k, values, torch.rand(40, len(k[0]), generator=generator))
    return out


@pytest.mark.parametrize(("box", "threads"), [(16, 1), (17, 2), (24, 2)])
def test_native_weights_and_quotient_are_those_of_the_plain_twin(box, threads, generator) -> None:
    sums = accumulated(box, threads, generator)
    weights = shell_weights_plain(sums)
    torch.testing.assert_close(shell_weights(sums), weights)
    prior = torch.linspace(0, 3, box // 2 + 1)
    added = 0.1 * weights + prior
    expected = map_from_grid(quotient_plain(sums, added), box)
    torch.testing.assert_close(solve(sums, prior=prior, floor=0.1), expected, atol=1e-6, rtol=1e-4)


def test_nothing_inserted_gives_an_empty_map() -> None:
    assert torch.equal(solve(SliceAccumulator(16)), torch.zeros(16, 16, 16))
