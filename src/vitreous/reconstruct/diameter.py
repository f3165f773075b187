"""Diameter of a particle from its images alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.data import Particles
from vitreous.fourier.frequencies import disc
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.reconstruct.backprojection import disc_ctf
from vitreous.typing import Float

SAMPLE = 2000
EDGE_LEVEL = 0.02
"""The edge is where the variance that particles add falls below this share of its maximum."""

SIGNIFICANCE = 4.0
LARGEST_SHARE_OF_BOX = 0.95
FALLBACK_SHARE_OF_BOX = 0.75
"""Used where the images are too few or too noisy to show an edge."""


@dataclass(frozen=True)
class VarianceProfile:
    """Variance that particles add to the noise, by distance from the box centre in pixels, and its standard error."""

    excess: Float[Tensor, " r"]
    standard_error: Float[Tensor, " r"]


def variance_profile(particles: Particles, radius: float, seed: int = 0) -> VarianceProfile:
    """Average the variance of CTF-multiplied, low-passed images over rings and particles, less that of the noise.

    Multiplying by the CTF brings the signal that the CTF spread back to where it belongs. ``radius`` is the low-pass in
    pixels of frequency.
    """
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(particles), generator=generator)[:SAMPLE].sort().values
    box = particles.box
    coefficients = disc(box, radius)
    total, noise = torch.zeros(box, box), 0.0
    for indices in torch.split(sample, 256):
        part = particles.select(indices)
        ctf = disc_ctf(part.optics, coefficients, part.pixel_size_A)
        y = coefficients.gather(rfft2_centred(part.images())) / box
        filtered = y if particles.ctf_premultiplied else y * ctf
        total += irfft2_centred(coefficients.scatter(filtered) * box, box).square().sum(0)
        noise += float(2 * ctf.square().sum()) / box**2
    axis = torch.arange(box) - box // 2
    ring = torch.hypot(axis[:, None].float(), axis[None, :].float()).round().long().reshape(-1)
    pixels = torch.bincount(ring, minlength=box)[: box // 2].float()
    sums = torch.zeros(int(ring.max()) + 1).index_add_(0, ring, (total - noise).reshape(-1))[: box // 2]
    independent = len(sample) * pixels * (2 * len(coefficients.kx) / box**2)
    error = noise / len(sample) * (2 / independent).sqrt()
    return VarianceProfile(sums / pixels / len(sample), error)


def estimate_diameter_A(particles: Particles, radius: float = 12.0) -> tuple[float, bool]:
    """Diameter in Å of the circle that holds the particle, and whether the images showed an edge at all.

    Without an edge (too few images, or a particle as large as the box) the value is a share of the box.
    """
    profile = variance_profile(particles, min(radius, particles.box / 4))
    extent_A = particles.box * particles.pixel_size_A
    level = torch.maximum(EDGE_LEVEL * profile.excess.max(), SIGNIFICANCE * profile.standard_error)
    inside = torch.nonzero(profile.excess > level)[:, 0]
    weak = int(profile.excess.argmax()) == 0 or len(inside) < 3
    if weak or float(level.mean()) > 0.25 * float(profile.excess.max()):
        return FALLBACK_SHARE_OF_BOX * extent_A, False
    edge = int(inside.max()) + 1
    share = 2 * edge / particles.box
    return min(share, LARGEST_SHARE_OF_BOX) * extent_A, share <= LARGEST_SHARE_OF_BOX
