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

    def draw(self, b: int, n: int, generator: torch.Generator) -> "DrawnOptics":
        """Draw a microscope for each of ``b`` sets and a defocus for each of their ``n`` views."""
        device = generator.device

        def pick(values: tuple[float, ...]) -> Tensor:
            table = torch.tensor(values, device=device)
            return table[torch.randint(0, len(values), (b,), generator=generator, device=device)]

        def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
            return low + (high - low) * torch.rand(b, generator=generator, device=device)

        voltage_kV, cs_mm = pick(self.voltages_kV), pick(self.cs_mm)
        amplitude_contrast = uniform(*self.amplitude_contrast)
        low, high = self.defocus_um
        mean_A = 1e4 * low * (high / low) ** uniform()
        jitter = torch.randn(b, n, generator=generator, device=device)
        return DrawnOptics(
            voltage_kV=voltage_kV,
            cs_mm=cs_mm,
            amplitude_contrast=amplitude_contrast,
            defocus_A=mean_A[:, None] * (1 + self.spread * jitter).clamp(0.3, 2.0),
            astigmatism_angle_deg=uniform(0.0, 180.0),
            astigmatism=uniform(0.0, self.astigmatism),
        )


@dataclass(frozen=True)
class DrawnOptics:
    """Optics of sets of views.

    Attributes
    ----------
    voltage_kV, cs_mm, amplitude_contrast
        Of each set's microscope ``[b]``.
    defocus_A
        Mean of both axes, per view ``[b, n]``.
    astigmatism_angle_deg
        Direction of the axis of larger defocus, from x towards y ``[b]``.
    astigmatism
        Difference of the two defoci over their mean ``[b]``.
    """

    voltage_kV: Float[Tensor, " b"]
    cs_mm: Float[Tensor, " b"]
    amplitude_contrast: Float[Tensor, " b"]
    defocus_A: Float[Tensor, "b n"]
    astigmatism_angle_deg: Float[Tensor, " b"]
    astigmatism: Float[Tensor, " b"]

    def ctf(self, field_A: Float[Tensor, " b"], box: int) -> Float[Tensor, "b n y half_x"]:
        """CTFs of :mod:`vitreous.physics.ctf` on the half plane, in float32, which is enough below 1/8 Å.

        Parameters
        ----------
        field_A
            Side of the views.
        box
            The same in pixels.
        """
        kx, ky = (k / _spread(field_A) for k in half_plane_indices(box, field_A.device))
        g2 = kx.square() + ky.square()
        axis = 2 * torch.deg2rad(_spread(self.astigmatism_angle_deg))
        stretch = axis.cos() * (kx.square() - ky.square()) + axis.sin() * 2 * kx * ky
        bent = self.defocus_A[..., None, None] * (g2 + 0.5 * _spread(self.astigmatism) * stretch)
        wavelength = _spread(electron_wavelength_A(self.voltage_kV))
        spherical = 0.5e7 * wavelength.square() * _spread(self.cs_mm) * g2.square()
        return torch.sin(torch.pi * wavelength * (bent - spherical) + torch.asin(_spread(self.amplitude_contrast)))


def _spread(per_set: Tensor) -> Tensor:
    return per_set[:, None, None, None]


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
