"""Random CTFs of standard views."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.physics.ctf import electron_wavelength_A
from vitreous.typing import Float


@dataclass(frozen=True)
class OpticsRange:
    """What microscopes and defoci a network is trained for."""

    voltages_kV: tuple[float, ...] = (300.0, 300.0, 200.0)
    """One is drawn per set."""

    cs_mm: tuple[float, ...] = (2.7, 2.7, 2.0, 0.01)
    """Spherical aberrations, one is drawn per set."""

    amplitude_contrast: tuple[float, float] = (0.07, 0.1)
    """Range of the amplitude contrast."""

    defocus_um: tuple[float, float] = (0.7, 2.8)
    """Range of a set's mean defocus, log-uniform; published stacks (EMPIAR-10028, 10017, 10204) lie within."""

    spread: float = 0.3
    """Standard deviation of a particle's defocus over the set's mean."""

    astigmatism: float = 0.03
    """Largest astigmatism over defocus."""

    def draw(
        self, b: int, n: int, field_A: Float[Tensor, " b"], box: int, generator: torch.Generator
    ) -> Float[Tensor, "b n y half_x"]:
        """Draw a microscope per set and a defocus per view; return the CTFs of the half plane.

        The CTF is that of :mod:`vitreous.physics.ctf`, in float32, which is enough below 1/8 Å.
        """
        device = generator.device

        def pick(values: tuple[float, ...]) -> Tensor:
            table = torch.tensor(values, device=device)
            return table[torch.randint(0, len(values), (b,), generator=generator, device=device)]

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=device)

        wavelength = electron_wavelength_A(pick(self.voltages_kV))[:, None, None, None]
        cs_A = 1e7 * pick(self.cs_mm)[:, None, None, None]
        low, high = self.amplitude_contrast
        phase = torch.asin(low + (high - low) * uniform(b, 1, 1, 1))
        low, high = self.defocus_um
        mean = 1e4 * low * (high / low) ** uniform(b, 1, 1, 1)
        jitter = torch.randn(b, n, 1, 1, generator=generator, device=device)
        defocus = mean * (1 + self.spread * jitter).clamp(0.3, 2.0)
        kx, ky = (k.to(device) / field_A[:, None, None, None] for k in half_plane_indices(box))
        axis = 2 * torch.pi * uniform(b, 1, 1, 1)
        g2 = kx.square() + ky.square()
        stretch = axis.cos() * (kx.square() - ky.square()) + axis.sin() * 2 * kx * ky
        bent = defocus * (g2 + 0.5 * self.astigmatism * uniform(b, 1, 1, 1) * stretch)
        return torch.sin(torch.pi * wavelength * (bent - 0.5 * wavelength.square() * g2.square() * cs_A) + phase)


@lru_cache(maxsize=4)
def _ring_matrix(box: int) -> Tensor:
    """Matrix of the means over shells 1 … box/2 − 1: ``[half plane, shells]``."""
    kx, ky = half_plane_indices(box)
    shell = torch.floor(torch.hypot(kx, ky) + 0.5).long().reshape(-1)
    member = torch.nn.functional.one_hot(shell, int(shell.max()) + 1)[:, 1 : box // 2].float()
    return member / member.sum(0)


def ring_means(values: Float[Tensor, "*b y half_x"], box: int) -> Float[Tensor, "*b shells"]:
    """Mean of half-plane values over each shell 1 … box/2 − 1."""
    return values.flatten(-2) @ _ring_matrix(box).to(values)
