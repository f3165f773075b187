"""What poses are refined against."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.device import compute_device
from vitreous.fourier.frequencies import Disc
from vitreous.physics.shifts import disc_phases
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.typing import Complex, Float, Map, Rotations, Shifts


@dataclass(frozen=True)
class Target:
    """What poses are refined against: a map, the coefficients that count, and the noise.

    Attributes
    ----------
    volume
        Transform of the map, in units of unitary image coefficients.
    disc
        Disc of the images.
    inverse_noise
        ``1/σ²`` of each of the first k coefficients of the disc.
    """

    volume: FourierVolume
    disc: Disc
    inverse_noise: Float[Tensor, " k"]

    @staticmethod
    def of(values: Map, disc: Disc, noise: Float[Tensor, " s"], radius: float) -> "Target":
        """Target from a map and the noise power per shell, inside a radius, in the memory of the computing device."""
        device = compute_device()
        inverse_noise = (1 / noise)[disc.shell[: disc.count(radius)]]
        return Target(FourierVolume.from_map(values.to(device)), disc, inverse_noise.to(device))

    def inside(self, radius: float) -> "Target":
        """Return the same inside a smaller radius."""
        return replace(self, inverse_noise=self.inverse_noise[: self.disc.count(radius)])

    @property
    def count(self) -> int:
        """Number of coefficients used."""
        return len(self.inverse_noise)

    @property
    def device(self) -> torch.device:
        """Where it is kept."""
        return self.inverse_noise.device

    def slices(self, rotations: Rotations) -> Complex[Tensor, "n k"]:
        """Slices at the coefficients that count."""
        n = self.count
        return self.volume.sample(rotations, self.disc.kx[:n].contiguous(), self.disc.ky[:n].contiguous())

    def explained(
        self, part: Coefficients, rotations: Rotations, shifts_px: Shifts
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Power ``|Y·C|²`` of images, and ``C²·(2·Re⟨Y·C, P⟩ − C²·|P|²)`` that the map explains of it at poses."""
        slices, moved, c2 = self.slices(rotations), self.centred(part, shifts_px), part.c2[:, : self.count]
        return moved.abs().square(), c2 * (2 * (moved.conj() * slices).real - c2 * slices.abs().square())

    def centred(self, part: Coefficients, shifts_px: Shifts) -> Complex[Tensor, "n k"]:
        """``Y·C`` of images whose particles are moved to the centre, at the coefficients that count."""
        return part.yc[:, : self.count] * disc_phases(-shifts_px, self.disc, self.count)
