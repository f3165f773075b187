"""Posteriors in torch operations against the native kernels; the E-step on a GPU against that on the CPU."""

import pytest
import torch

from vitreous.fourier.frequencies import disc
from vitreous.geometry.grids import so3_grid
from vitreous.reconstruct import posterior_kernels, posterior_plain
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.expectation import centred_copies, cross_terms, references_of
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
    flat = torch.empty(IMAGES, dtype=torch.bool)
    sums = (native[0].numpy(), native[1].numpy(), mass.numpy())
    summary = (best.numpy(), effective.numpy(), evidence.numpy(), flat.numpy())
    terms = (cross.numpy(), norms.numpy(), sharpness, copies.numpy(), c2.numpy())
    posterior_kernels.accumulate_kernel(*terms, sums, summary)
    weights, found = posterior_plain.kept_weights(cross, norms, sharpness)
    poses = (weights > 0).flatten(1).sum(1)
    assert torch.equal(flat, poses > posterior_kernels.FLAT_SHARE * SHIFTS * ROTATIONS)
    moved = copies.view(IMAGES, SHIFTS, -1)[~flat].flatten(0, 1)
    plain = RotationSums(ROTATIONS, COUNT)
    plain.add(weights[~flat], moved, c2[~flat])
    assert torch.equal(found[0], best)
    torch.testing.assert_close(found[1], effective, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[2], evidence, rtol=1e-5, atol=1e-5)
    for one, other in zip((plain._values, plain._weights, plain._mass), (*native, mass), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_images_that_fit_many_poses_are_summed_as_those_that_fit_few() -> None:
    generator = torch.Generator().manual_seed(1)
    values, pixels = torch.randn(16, 16, 16, generator=generator), disc(16, 6.0)
    grid = PoseGrid(so3_grid(1, 12), 12, torch.randn(3, 2, generator=generator))
    references = references_of("products", [values], grid, pixels, count := pixels.count(5.0))
    power = torch.tensor([1e-6, 10.0, 1e-6, 10.0])[:, None]
    part = Coefficients(
        power * torch.randn(4, count, dtype=torch.complex64, generator=generator),
        power * 1e-3 * torch.rand(4, count, generator=generator),
    )
    copies = centred_copies(part.yc, references.phases)
    native, plain = (RotationSums(len(references.rotations), count) for _ in range(2))
    native.add_posterior(copies, part.c2, references, 1.0)
    scores = (cross_terms(copies, 4, references).clone(), references.norms(part.c2))
    weights, _ = posterior_plain.kept_weights(*scores, 1.0)
    flat = (weights > 0).flatten(1).float().mean(1) > posterior_kernels.FLAT_SHARE
    assert flat.tolist() == [True, False, True, False]
    plain.add(weights, copies, part.c2)
    for name in ("_values", "_weights", "_mass"):
        torch.testing.assert_close(getattr(native, name), getattr(plain, name), rtol=1e-4, atol=1e-6)


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
        part = images.to(device)
        sums = RotationSums(len(rotations), count, device)
        summaries.append(sums.add_posterior(centred_copies(part.yc, references.phases), part.c2, references, 1.0))
        merged.append(RotationSums.merged([sums]))
    assert torch.equal(summaries[1].best.cpu(), summaries[0].best)
    torch.testing.assert_close(merged[1]._values, merged[0]._values, rtol=1e-2, atol=1e-4)
