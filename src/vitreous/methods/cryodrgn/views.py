"""New views of images: their noise, and what is rendered of them through it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc, half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.physics.shifts import disc_phases
from vitreous.typing import Complex, Float, Images, Shifts


def noise_sigma(images: Images, start: float = 0.75) -> float:
    """Standard deviation of the white noise of images, from their highest frequencies (CryoNOO, algorithm 1).

    The power of an image is averaged in every shell, then over the shells from ``start`` (share of Nyquist's
    frequency) to Nyquist's; the root over the box is σ of an image, and the mean over the images is returned. σ is
    in the units of the pixels.
    """
    box = images.shape[-1]
    kx, ky = half_plane_indices(box)
    shell = torch.floor(torch.hypot(kx, ky) + 0.5).long()
    first, last = math.ceil(start * box / 2), (box - 1) // 2
    power = rfft2_centred(images).abs().square()
    means = torch.stack([power[:, shell == number].mean(1) for number in range(min(first, last), last + 1)])
    return float((means.mean(0) / box**2).sqrt().mean())


@dataclass(frozen=True)
class ImagePlane:
    """Goes between centred coefficients and the windowed images that they were taken from.

    Attributes
    ----------
    disc
        The coefficients.
    window
        What images are multiplied by, ``[y, x]``.
    """

    disc: Disc
    window: Float[Tensor, "y x"]

    def images(self, values: Complex[Tensor, "b k"], shifts_px: Shifts) -> Images:
        """Return images with their particles where they were."""
        moved = self.disc.scatter(values * disc_phases(shifts_px, self.disc))
        return irfft2_centred(moved * self.disc.box, self.disc.box)

    def values(self, images: Images, shifts_px: Shifts) -> Complex[Tensor, "b k"]:
        """Window images, and move their particles to the centre."""
        transforms = self.disc.gather(rfft2_centred(images * self.window.to(images))) / self.disc.box
        return transforms * disc_phases(-shifts_px, self.disc)

    def sigma_of(self, power: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Standard deviation of white noise in images whose coefficients it gives this mean power."""
        return (power / self.window.to(power).square().mean()).sqrt()

    def with_noise(
        self, values: Complex[Tensor, "b k"], shifts_px: Shifts, sigma: Float[Tensor, ""]
    ) -> Complex[Tensor, "b k"]:
        """Return coefficients seen again through white noise, which is drawn from torch's own generator."""
        images = self.images(values, shifts_px)
        return self.values(images + sigma * torch.randn_like(images), shifts_px)

    def turned(self, values: Complex[Tensor, "b k"]) -> Complex[Tensor, "b k"]:
        """Return coefficients of images turned by random quarters and mirrored at random."""
        transposes, flips_x, flips_y = (torch.rand(3, len(values), 1, 1, device=values.device) < 0.5).unbind()
        images = self.images(values, values.real.new_zeros(len(values), 2))
        images = torch.where(transposes, images.mT, images)
        images = torch.where(flips_x, _flipped(images, 2), images)
        images = torch.where(flips_y, _flipped(images, 1), images)
        return self.disc.gather(rfft2_centred(images)) / self.disc.box


def _flipped(images: Tensor, dim: int) -> Tensor:
    """Mirror about pixel ``n // 2``."""
    return images.flip(dim) if images.shape[dim] % 2 else images.flip(dim).roll(1, dim)
