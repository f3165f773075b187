"""Latents of images that are linear in them: their posterior in closed form, whatever computes it."""

import subprocess
import sys

import torch

from vitreous.physics.linear_posterior import linear_posterior

IN_THREADS = """
import torch
from vitreous.physics.linear_posterior import linear_posterior
torch.set_num_threads(2)
slices = torch.randn(64, 161, 300, dtype=torch.complex64)
_, covariance = linear_posterior(torch.randn(64, 300, dtype=torch.complex64), slices)
real = torch.view_as_real(slices[:, 1:]).flatten(-2)
print(float((covariance @ (torch.eye(160) + 2 * real @ real.mT) - torch.eye(160)).abs().max()))
"""


def complex_numbers(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.view_as_complex(torch.randn(*shape, 2, generator=generator))


def test_the_posterior_is_that_of_one_latent_in_closed_form(generator) -> None:
    """With one principal slice a, the precision is 1 + 2|a|² and the mean 2 Re⟨a, y − v⟩ over it."""
    slices, values = complex_numbers(5, 2, 30, generator=generator), complex_numbers(5, 30, generator=generator)
    mean, covariance = linear_posterior(values, slices)
    precision = 1 + 2 * slices[:, 1].abs().square().sum(1)
    torch.testing.assert_close(covariance[:, 0, 0], 1 / precision)
    product = (slices[:, 1].conj() * (values - slices[:, 0])).real.sum(1)
    torch.testing.assert_close(mean[:, 0], 2 * product / precision)


def test_many_latents_are_found_in_several_threads() -> None:
    done = subprocess.run([sys.executable, "-c", IN_THREADS], capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 1e-4


def test_bfloat16_around_it_changes_nothing(generator) -> None:
    slices = 30 * complex_numbers(4, 9, 200, generator=generator)
    values = complex_numbers(4, 200, generator=generator)
    plain = linear_posterior(values, slices)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = linear_posterior(values, slices)
    for first, second in zip(plain, mixed):
        assert second.dtype == torch.float32
        assert torch.equal(first, second)
