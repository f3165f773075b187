"""White and coloured Gaussian noise."""

import torch
from torch import Tensor

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.typing import Float, Images


def white_noise(n: int, box: int, generator: torch.Generator) -> Images:
    """Noise of variance 1, independent in every pixel."""
    return torch.randn(n, box, box, generator=generator)


def coloured_noise(n: int, box: int, power: Float[Tensor, " shells"], generator: torch.Generator) -> Images:
    """Noise whose power per coefficient of a unitary transform follows ``power`` shell by shell.

    Shells beyond the last entry repeat it. ``power = 1`` gives :func:`white_noise`.
    """
    kx, ky = half_plane_indices(box)
    shell = torch.floor(torch.hypot(kx, ky) + 0.5).long().clamp_max(len(power) - 1)
    return irfft2_centred(rfft2_centred(white_noise(n, box, generator)) * power.float().sqrt()[shell], box)
