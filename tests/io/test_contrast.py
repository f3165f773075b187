"""Simulated particles: clumps of points, randomly turned, seen through the CTF of an underfocused microscope."""

import math

import numpy as np
import pytest
import torch

from vitreous.data import ArraySource
from vitreous.io.contrast import detect_contrast
from vitreous.io.stacks import StackSource


def ctf(box, pixel_A, defocus_A, voltage_kV=300.0, cs_mm=2.7, amplitude=0.07):
    """Closed form of docs/conventions.md, written anew."""
    volts = voltage_kV * 1e3
    wavelength = 12.2643247 / math.sqrt(volts * (1 + volts * 0.978466e-6))
    g2 = np.fft.fftfreq(box, pixel_A)[:, None] ** 2 + np.fft.rfftfreq(box, pixel_A) ** 2
    chi = np.pi * wavelength * g2 * (defocus_A - 0.5 * wavelength**2 * g2 * cs_mm * 1e7)
    return math.sqrt(1 - amplitude**2) * np.sin(chi) + amplitude * np.cos(chi)


def particles(rng, *, n=100, box=64, pixel_A=4.0, diameter_A=160.0, defocus_A=(8e3, 25e3), snr=0.05, hollow=False):
    directions = rng.normal(size=(3000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    depth = 0.85 + 0.15 * rng.random((3000, 1)) if hollow else rng.random((3000, 1)) ** (1 / 3)
    points = directions * depth * diameter_A / 2
    if not hollow:
        points = 0.6 * points + rng.normal(size=(8, 3))[rng.integers(8, size=3000)] * diameter_A / 5
    points -= points.mean(axis=0)
    images = np.empty((n, box, box))
    for image in images:
        turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        xy = (points @ turned)[:, :2] / pixel_A + box // 2 + rng.uniform(-2, 2, 2)
        density = np.histogram2d(xy[:, 1], xy[:, 0], bins=box, range=[[-0.5, box - 0.5]] * 2)[0]
        transform = np.fft.rfft2(density) * ctf(box, pixel_A, rng.uniform(*defocus_A))
        image[...] = np.fft.irfft2(transform, s=(box, box))
    noisy = images / images.std() + rng.normal(size=images.shape) / math.sqrt(snr)
    return torch.from_numpy(noisy.astype(np.float32)), pixel_A


CASES = {
    "ordinary": {},
    "faint": {"snr": 0.01, "n": 200},
    "near focus": {"defocus_A": (8e3, 8.1e3)},
    "far from focus": {"defocus_A": (35e3, 45e3)},
    "small": {"pixel_A": 2.0, "diameter_A": 80.0},
    "fills its box": {"pixel_A": 8.0, "diameter_A": 420.0},
    "hollow": {"pixel_A": 8.0, "diameter_A": 400.0, "hollow": True, "n": 200},
}


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("case", CASES)
def test_either_contrast_is_recognised(case, sign):
    images, pixel_A = particles(np.random.default_rng(1), **CASES[case])
    estimate = detect_contrast(ArraySource(sign * images, pixel_A))
    assert estimate.sign == sign
    assert estimate.is_significant
    assert estimate.z_score * sign > 4


def test_noise_alone_is_called_bright_without_certainty():
    scores = []
    for seed in range(300):
        noise = torch.randn(20, 32, 32, generator=torch.Generator().manual_seed(seed))
        estimate = detect_contrast(ArraySource(noise, 1.0))
        scores.append(estimate.z_score)
        assert estimate.sign == (-1.0 if estimate.z_score <= -3 else 1.0)
    assert abs(np.mean(scores)) < 4 / math.sqrt(300)
    assert np.std(scores) == pytest.approx(1, abs=0.15)  # the z-score is one


def test_few_or_equal_images_give_no_certainty():
    one = torch.zeros(3, 16, 16)
    one[:, 8, 8] = 1
    for images in (one, one[:1], -one):
        estimate = detect_contrast(ArraySource(images, 1.0))
        assert (estimate.sign, estimate.z_score) == (1.0, 0.0)


def test_only_the_sample_is_read():
    class Counting(ArraySource):
        def read(self, indices):
            rows.extend(indices.tolist())
            return super().read(indices)

    rows: list[int] = []
    images = torch.randn(500, 8, 8, generator=torch.Generator().manual_seed(0))
    first = detect_contrast(Counting(images, 1.0), sample=50, seed=3)
    assert len(set(rows)) == len(rows) == 50
    assert detect_contrast(ArraySource(images, 1.0), sample=50, seed=3) == first


@pytest.mark.parametrize(
    ("name", "n", "sign"),
    [
        ("trpv1_10x48/trpv1_small_stack.mrcs", 10, 1.0),
        ("empiar10076_7x320/empiar_10076_7.mrc", 7, -1.0),
        ("relion_project_reference/rln_proj_64.mrcs", 5, 1.0),
    ],
)
def test_real_particles(shared_data, name, n, sign):
    rows = torch.arange(n)
    source = StackSource([shared_data / "particles" / name], torch.zeros_like(rows), rows, 1.0, normalise=False)
    estimate = detect_contrast(source)
    assert estimate.sign == sign
    assert estimate.is_significant
