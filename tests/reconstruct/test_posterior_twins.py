"""Posteriors in torch operations against the native kernels; the E-step on a GPU against that on the CPU."""

import pytest
import torch

from vitreous.fourier.frequencies import disc
from vitreous.geometry.grids import so3_grid
from vitreous.reconstruct import posterior_kernels, posterior_plain
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.expectation import centred_copies, on_device, references_of
from vitreous.reconstruct.maximisation import RotationSums
from vitreous.reconstruct.rings import PoseGrid

IMAGES, SHIFTS, ROTATIONS, COUNT = 9, 4, 60, 7


def some_terms(spread: float) -> tuple[torch.Tensor, ...]:
    """Cross terms, norms, moved images and C²; a small spread makes flat posteriors."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((IMAGES, SHIFTS, ROTATIONS), (IMAGES, ROTATIONS), (IMAGES * SHIFTS, 2 * COUNT), (IMAGES, COUNT))
    cross, norms, copies, c2 = (torch.randn(shape, generator=generator) for shape in shapes)
    return spread * cross, spread * norms, copies, c2.abs()


@pytest.mark.parametrize("sharpness", [1.0, 0.3])
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_sums_are_those_of_the_native_kernel(spread: float, sharpness: float) -> None:
    cross, norms, copies, c2 = some_terms(spread)
    native = tuple(torch.zeros(shape, dtype=torch.float64) for shape in ((ROTATIONS, 2 * COUNT), (ROTATIONS, COUNT)))
    mass, best = torch.zeros(ROTATIONS, dtype=torch.float64), torch.empty(IMAGES, dtype=torch.int64)
    effective, evidence = torch.empty(2, IMAGES)
    sums = (native[0].numpy(), native[1].numpy(), mass.numpy())
    summary = (best.numpy(), effective.numpy(), evidence.numpy())
    terms = (cross.numpy(), norms.numpy(), sharpness, copies.numpy(), c2.numpy())
    posterior_kernels.accumulate_kernel(*terms, sums, summary)
    weights, found = posterior_plain.kept_weights(cross, norms, sharpness)
    plain = RotationSums(ROTATIONS, COUNT)
    plain.add(weights, copies, c2)
    assert torch.equal(found[0], best)
    torch.testing.assert_close(found[1], effective, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[2], evidence, rtol=1e-5, atol=1e-5)
    for one, other in zip((plain._values, plain._weights, plain._mass), (*native, mass), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_candidates_are_those_of_the_native_kernel(spread: float) -> None:
    cross, norms, *_ = some_terms(spread)
    margin, most = (2.0, 0.05), 6
    turn, shift = torch.zeros(2, IMAGES, most, dtype=torch.int64)
    counts = torch.zeros(IMAGES, dtype=torch.int64)
    effective, probability, evidence = torch.empty(3, IMAGES)
    listed = (turn.numpy(), shift.numpy(), counts.numpy())
    summary = (probability.numpy(), effective.numpy(), evidence.numpy())
    posterior_kernels.candidates_kernel(cross.numpy(), norms.numpy(), margin, listed, summary)
    found = posterior_plain.best_candidates(cross, norms, margin, most)
    assert torch.equal(found[2], counts)
    shown = torch.arange(most) < counts[:, None]
    assert torch.equal(found[0][shown], turn[shown])
    assert torch.equal(found[1][shown], shift[shown])
    for one, other in zip(found[3:], (effective, probability, evidence), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("path", ["products", "rings"])
def test_the_estep_on_a_gpu_is_that_on_the_cpu(path: EStep) -> None:
    generator = torch.Generator().manual_seed(1)
    values, pixels = torch.randn(32, 32, 32, generator=generator), disc(32, 12.0)
    rotations, shifts_px = so3_grid(1, 12), torch.randn(3, 2, generator=generator)
    count = pixels.count(8.0)
    yc = 0.01 * torch.randn(5, count, dtype=torch.complex64, generator=generator)
    images = Coefficients(yc, 1e-4 * torch.rand(5, count, generator=generator))
    merged, summaries = [], []
    for device in (torch.device("cpu"), torch.device("cuda")):
        grid = PoseGrid(rotations.to(device), 12, shifts_px.to(device))
        references = references_of(path, [values], grid, pixels, count)
        part = on_device(images, device)
        sums = RotationSums(len(rotations), count, device)
        summaries.append(sums.add_posterior(centred_copies(part.yc, references.phases), part.c2, references, 1.0))
        merged.append(RotationSums.merged([sums]))
    assert torch.equal(summaries[1].best.cpu(), summaries[0].best)
    torch.testing.assert_close(merged[1]._values, merged[0]._values, rtol=1e-2, atol=1e-4)
