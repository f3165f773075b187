"""Slices of combinations of maps: against those of the combined map, their twin, and finite differences."""

import pytest
import torch

from vitreous.fourier.frequencies import disc
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.basis_slices import basis_slices
from vitreous.physics.slices import FourierVolume
from vitreous.physics.slices_reference import basis_slice_plain

BOX, MAPS, N = 10, 3, 4
DISC = disc(BOX, BOX / 2)
K = (DISC.kx, DISC.ky)


@pytest.fixture
def parts(generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    maps = torch.randn(MAPS, BOX, BOX, BOX, generator=generator)
    grids = torch.stack([torch.view_as_real(FourierVolume.from_map(values).grid) for values in maps], -2)
    return grids.contiguous(), torch.randn(N, MAPS, generator=generator), random_rotations(N, generator).float()


def test_slices_are_those_of_the_combined_map(parts) -> None:
    grids, coefficients, rotations = parts
    found = basis_slices(grids, coefficients, rotations, K)
    for row in range(N):
        grid = torch.view_as_complex(torch.einsum("zyxmc,m->zyxc", grids, coefficients[row]).contiguous())
        expected = FourierVolume(grid, BOX).sample(rotations[row : row + 1], *K)[0]
        torch.testing.assert_close(found[row], expected, atol=1e-3, rtol=1e-4)


def test_the_native_path_equals_its_twin_forward_and_backward(parts, generator) -> None:
    grids, coefficients, rotations = parts
    upstream = torch.randn(N, len(DISC.kx), dtype=torch.complex64, generator=generator)
    found = []
    for sliced, padding in ((basis_slices, 2), (basis_slice_plain, 2.0)):
        leaves = [grids.clone().requires_grad_(), coefficients.clone().requires_grad_()]
        values = sliced(*leaves, rotations, K, padding)
        (values * upstream.conj()).real.sum().backward()
        found.append((values.detach(), *(leaf.grad for leaf in leaves)))
    for native, plain in zip(*found):
        torch.testing.assert_close(native, plain, atol=2e-3, rtol=1e-3)


def test_gradients_are_those_of_finite_differences(parts, generator) -> None:
    grids, coefficients, rotations = parts
    target = torch.randn(N, len(DISC.kx), dtype=torch.complex64, generator=generator)

    def loss(g: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (basis_slices(g, c, rotations, K) / BOX - target).abs().square().mean()

    leaves = [grids.clone().requires_grad_(), coefficients.clone().requires_grad_()]
    loss(*leaves).backward()
    for number, leaf in enumerate(leaves):
        step = 0.05 * torch.randn(leaf.shape, generator=generator)
        ends = []
        for sign in (1, -1):
            moved = [grids, coefficients]
            moved[number] = moved[number] + sign * step
            ends.append(loss(*moved).item())
        assert (leaf.grad * step).sum().item() == pytest.approx((ends[0] - ends[1]) / 2, rel=2e-3)


def test_inserting_is_the_adjoint_of_slicing(parts, generator) -> None:
    grids, coefficients, rotations = parts
    other = torch.randn(N, len(DISC.kx), dtype=torch.complex64, generator=generator)
    leaf = grids.clone().requires_grad_()
    inner = (basis_slices(leaf, coefficients, rotations, K) * other.conj()).real.sum()
    inner.backward()
    assert (leaf.grad * grids).sum().item() == pytest.approx(inner.item(), rel=1e-4)
