"""Noise and signal of optics groups, measured on the images before anything is known of the particle."""

import math

import torch
from torch import Tensor

from vitreous.compute.processes import current_share
from vitreous.data import Particles
from vitreous.fourier.transform import rfft2_centred
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.group_balance import GroupBalance
from vitreous.typing import Float, Images, Int

SAMPLE = 500
"""Images of each group that are looked at, at most."""

SMALL_GROUP = 50
"""Of a group of n images, what is found counts n²/(n² + 50²); the rest is what all particles have."""

SIGNAL_SHELLS = (2, 12)
"""Shells whose power above the noise tells how strong the particle is."""

SHIFT_SHARE = 0.05
LARGEST_RADIUS_SHARE = 0.45
EDGE_PX = 3.0
"""The background begins beyond the particle, moved by 5 % of the box, and within 45 % of the box; the edge is soft."""

EMPTY_POWER = 0.3
"""Corners with less than this share of the normal background's power were cut off."""

AMPLITUDE_LIMITS = (0.2, 5.0)
BATCH = 256


def balanced(store: CoefficientStore, diameter_px: float) -> CoefficientStore:
    """Store whose optics groups count by their own noise; the same store where there is one group."""
    groups = store.particles.optics.group
    if bool((groups == groups[0]).all()):
        return store
    return store.balanced(measured_balance(store, diameter_px))


def measured_balance(store: CoefficientStore, diameter_px: float) -> GroupBalance:
    """Noise and amplitude of every optics group, from a sample of its images.

    The noise is the power of the background around the particle. The amplitude comes from the power above the noise,
    ``Σ(|Y·C|² − N·C²)`` of the group over what the particle's mean spectrum predicts, ``ΣC⁴·S``.

    Parameters
    ----------
    store
        Coefficients as they are in the images.
    diameter_px
        Diameter of the particle in pixels.
    """
    groups = store.particles.optics.group
    sizes = torch.bincount(groups)
    samples = [_sample(groups, number) for number in range(len(sizes))]
    sums = _shell_sums(store, samples, diameter_px)
    looked_at = torch.tensor([len(rows) for rows in samples])
    power, yc2, c2, c4 = sums.unbind(1)
    power = power / looked_at.clamp_min(1)[:, None]
    power[:, 0] = power[:, 1]
    pooled = (sizes[:, None] * power).sum(0) / sizes.sum()
    signal = (yc2 - power * c2).sum(0) / c4.sum(0).clamp_min(1e-12)
    low, high = SIGNAL_SHELLS
    inside = slice(low, min(high, len(pooled) - 1) + 1)
    expected = (c4 * signal.clamp_min(0))[:, inside].sum(1).clamp_min(1e-12)
    strength = (yc2 - power * c2)[:, inside].sum(1) / expected
    trust = looked_at**2 / (looked_at**2 + SMALL_GROUP**2)
    limits = [limit**2 for limit in AMPLITUDE_LIMITS]
    strength = (1 + trust * (strength.clamp(*limits) - 1)).clamp(*limits)
    noise = 1 + trust[:, None] * (_smoothed(power / pooled) - 1)
    return GroupBalance(noise.float(), strength.sqrt().float())


def background_noise(store: CoefficientStore) -> Float[Tensor, " s"]:
    """Power of the background per shell, from the corners of some images; 1 where they are empty."""
    groups = torch.zeros(len(store), dtype=torch.int64)
    rows = _sample(groups, 0)
    power = _shell_sums(store, [rows], float(store.particles.box))[0, 0] / len(rows)
    power[0] = power[1]
    smooth = _smoothed(power[None].float())[0]
    return torch.where(smooth < EMPTY_POWER, 1.0, smooth)


def _sample(groups: Int[Tensor, " n"], number: int) -> Int[Tensor, " m"]:
    """Rows of at most ``SAMPLE`` particles of a group, evenly over the file."""
    rows = torch.nonzero(groups == number)[:, 0]
    return rows[:: max(1, math.ceil(len(rows) / SAMPLE))]


def _shell_sums(store: CoefficientStore, samples: list[Tensor], diameter_px: float) -> Float[Tensor, "g 4 s"]:
    """Background power, ``|Y·C|²``, ``C²`` and ``C⁴`` per shell, summed over the images and averaged over the shell.

    Every process looks at its share of the groups.
    """
    share, shell = current_share(), store.disc.shell
    members = torch.bincount(shell)
    sums = torch.zeros(len(samples), 4, len(members), dtype=torch.float64)
    window = background_window(store.particles.box, diameter_px)
    for number in share.mine(range(len(samples))):
        for rows in torch.split(samples[number], BATCH) if len(samples[number]) else ():
            part = store.batch(rows)
            power = _background_power(store, rows, window)
            columns = [power, part.yc.abs().square().sum(0), part.c2.sum(0), part.c2.square().sum(0)]
            sums[number].index_add_(1, shell, torch.stack(columns).double())
    share.sum_(sums)
    return sums / members


def _background_power(store: CoefficientStore, rows: Int[Tensor, " b"], window: Images) -> Float[Tensor, " k"]:
    """Power of the background per coefficient, summed over some images."""
    particles = store.particles
    power = store.disc.gather(background_periodograms(particles, rows, window)).sum(0)
    if not particles.ctf_premultiplied:
        return power
    c2 = store.batch(rows).c2.mean(0)
    return power * c2.mean() / c2.clamp_min(1e-3)


def background_window(box: int, diameter_px: float) -> Images:
    """Soft window ``[1, box, box]`` that is 0 on the particle and 1 around it."""
    radius = min(diameter_px / 2 + SHIFT_SHARE * box, LARGEST_RADIUS_SHARE * box)
    offset = torch.arange(box, dtype=torch.float32) - box // 2
    ramp = ((torch.hypot(offset[:, None], offset) - radius) / EDGE_PX).clamp(0, 1)
    return ((1 - torch.cos(math.pi * ramp)) / 2)[None]


def background_periodograms(
    particles: Particles, rows: Int[Tensor, " b"], window: Images
) -> Float[Tensor, "b y half_x"]:
    """Power per coefficient of a unitary transform of the images inside a window, which white noise of σ 1 gives 1."""
    images = particles.images(rows)
    mean = (images * window).sum((1, 2), keepdim=True) / window.sum()
    return rfft2_centred((images - mean) * window).abs().square() / window.square().sum()


def _smoothed(ratio: Float[Tensor, "g s"]) -> Float[Tensor, "g s"]:
    """Average over neighbouring shells with weights 1, 2, 1."""
    padded = torch.cat([ratio[:, :1], ratio, ratio[:, -1:]], 1)
    return (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
