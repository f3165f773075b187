"""Scores against sums over pixels; posteriors against their definition; native sums against matrix products."""

import pytest
import torch

from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.data import Poses
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume, SliceAccumulator
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.expectation import References, centred_copies, posterior, score, sharpness_for
from vitreous.reconstruct.maximisation import RotationSums

BOX, RADIUS = 24, 9.0


def some_scores(n: int = 6, n_rotations: int = 7, seed: int = 0):
    """Scores of particles on a small grid that holds arbitrary rotations and shifts."""
    scene = make_scene(n, BOX, snr=0.5, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    rotations = torch.cat([scene.poses.rotations[:2], random_rotations(n_rotations - 2, generator)])
    shifts_px = 2 * torch.randn(5, 2, generator=generator)
    store = CoefficientStore(scene.particles, RADIUS)
    volume = FourierVolume.from_map(scene.truth / BOX)
    references = References.of(volume, rotations, shifts_px, store.disc, len(store.disc.kx))
    part = store.batch(torch.arange(n))
    copies = centred_copies(part.yc, references.phases)
    return scene, store, references, part, copies, score(copies, part.c2, references)


def test_scores_are_squared_distances_over_pixels() -> None:
    """``−½·Σ_pixels |Y − C·P|² / σ²``, summed over real-space pixels of images cut to the same frequencies.

    The disc holds one of every Friedel pair, so ``Σ_disc`` is half the sum over pixels; only the mean has no mate.
    """
    scene, store, references, _, _, scores = some_scores()
    inside = store.disc

    def cut(images: torch.Tensor) -> torch.Tensor:
        values = inside.gather(rfft2_centred(images))
        values[:, 0] = 0  # the mean has no mate: it is compared apart below
        return irfft2_centred(inside.scatter(values), BOX)

    images = cut(scene.particles.images())
    n = len(images)
    mean = inside.gather(rfft2_centred(scene.particles.images()))[:, 0].real / BOX
    for t, shift in enumerate(references.shifts_px):
        for r, rotation in enumerate(references.rotations):
            poses = Poses(rotation.expand(n, 3, 3), (shift * PIXEL_SIZE_A).expand(n, 2))
            model = render(FourierVolume.from_map(scene.truth), poses, scene.particles.optics, PIXEL_SIZE_A)
            model_mean = inside.gather(rfft2_centred(model))[:, 0].real / BOX
            distance = (images - cut(model)).square().sum((1, 2)) / 2 + (mean - model_mean) ** 2
            nothing = images.square().sum((1, 2)) / 2 + mean**2
            torch.testing.assert_close(scores[:, t, r], nothing - distance, atol=2e-2, rtol=2e-3)


def test_posterior_is_a_softmax() -> None:
    *_, scores = some_scores()
    kept = scores.clone()
    for sharpness in (1.0, 0.2):
        found = posterior(kept.clone(), sharpness)
        expected = torch.softmax(sharpness * kept.flatten(1).double(), 1)
        torch.testing.assert_close(found.weights.flatten(1).double(), expected, atol=1e-6, rtol=1e-3)
        torch.testing.assert_close(found.weights.sum((1, 2)), torch.ones(len(kept)))
        assert torch.equal(found.best, kept.flatten(1).argmax(1))
        effective = 1 / expected.square().sum(1)
        torch.testing.assert_close(found.effective_poses.double(), effective, rtol=1e-4, atol=1e-5)
        evidence = torch.logsumexp(sharpness * kept.flatten(1).double(), 1)
        torch.testing.assert_close(found.log_evidence.double(), evidence, rtol=1e-5, atol=1e-3)


def test_equal_scores_share_the_weight() -> None:
    found = posterior(torch.zeros(2, 3, 4))
    torch.testing.assert_close(found.weights, torch.full((2, 3, 4), 1 / 12))
    torch.testing.assert_close(found.effective_poses, torch.full((2,), 12.0))


@pytest.mark.parametrize("wanted", [3.0, 8.0, 20.0])
def test_sharpness_meets_its_target(wanted: float) -> None:
    scores = 50 * torch.randn(101, 5, 40, generator=torch.Generator().manual_seed(0))
    kept = scores.clone()
    found = sharpness_for(scores, wanted)
    assert torch.equal(scores, kept)
    effective = posterior(scores, found).effective_poses.median()
    assert float(effective) == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("sharpness", [1.0, 0.1])
def test_native_sums_equal_matrix_products(sharpness: float) -> None:
    """Poses below 1e-4 of an image's weight are left out, which bounds the difference."""
    _, _, references, part, copies, scores = some_scores()
    plain, native = (RotationSums(len(references.rotations), part.c2.shape[1]) for _ in range(2))
    found = posterior(scores.clone(), sharpness)
    plain.add(found.weights, copies, part.c2)
    summary = native.add_posterior(copies, part.c2, references, sharpness)
    assert torch.equal(summary.best, found.best)
    torch.testing.assert_close(summary.effective_poses, found.effective_poses, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(summary.log_evidence, found.log_evidence, rtol=1e-4, atol=1e-3)
    for name in ("_values", "_weights", "_mass"):
        first, second = getattr(plain, name), getattr(native, name)
        assert float((first - second).norm()) < 5e-3 * float(first.norm())


def test_native_sums_of_a_flat_posterior() -> None:
    """Images that fit every pose alike spread evenly, however many poses there are."""
    generator = torch.Generator().manual_seed(0)
    shifts, rotations, count = 9, 4000, 5
    phases = torch.ones(shifts, count, dtype=torch.complex64)
    slices = 1e-4 * torch.randn(rotations, 2 * count, generator=generator)
    power = slices.view(rotations, count, 2).square().sum(-1)
    grid = References(torch.eye(3).expand(rotations, 3, 3), torch.zeros(shifts, 2), slices, power, phases)
    yc = torch.randn(3, count, generator=generator, dtype=torch.complex64)
    c2 = torch.rand(3, count, generator=generator)
    copies = centred_copies(yc, phases)
    plain, native = (RotationSums(rotations, count) for _ in range(2))
    plain.add(posterior(score(copies, c2, grid)).weights, copies, c2)
    native.add_posterior(copies, c2, grid, 1.0)
    assert float((plain._values - native._values).norm()) < 1e-3 * float(plain._values.norm())
    torch.testing.assert_close(native._mass, plain._mass, rtol=1e-3, atol=1e-6)


def test_sums_insert_what_single_images_would() -> None:
    """Every image inserted at every pose with its weight, one by one, gives the same map sums."""
    _, store, references, part, copies, scores = some_scores()
    weights = posterior(scores).weights
    sums = RotationSums(len(references.rotations), part.c2.shape[1])
    sums.add(weights, copies, part.c2)
    together, apart = SliceAccumulator(BOX), SliceAccumulator(BOX)
    sums.insert_into(together, references.rotations, store.disc)
    k = (store.disc.kx, store.disc.ky)
    for t, phases in enumerate(references.phases):
        for r, rotation in enumerate(references.rotations):
            w = weights[:, t, r, None]
            apart.add(rotation.expand(len(w), 3, 3).contiguous(), k, part.yc * phases * w, part.c2 * w)
    for found, expected in zip(together.totals(), apart.totals(), strict=True):
        assert float((found - expected).norm()) < 2e-3 * float(expected.norm())


def test_merged_sums_are_sums() -> None:
    *_, references, part, copies, scores = some_scores()
    weights = posterior(scores).weights
    whole, first, second = (RotationSums(len(references.rotations), part.c2.shape[1]) for _ in range(3))
    whole.add(weights, copies, part.c2)
    t = len(references.shifts_px)
    first.add(weights[:2], copies[: 2 * t], part.c2[:2])
    second.add(weights[2:], copies[2 * t :], part.c2[2:])
    merged = RotationSums.merged([first, second])
    torch.testing.assert_close(merged._values, whole._values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged._weights, whole._weights, atol=1e-4, rtol=1e-4)
