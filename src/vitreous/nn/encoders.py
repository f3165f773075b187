"""Encoders: networks of images with their CTF and orientation, behind one interface."""

import math

import torch
from torch import Tensor

from vitreous.data import Particles
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.frequencies import Disc
from vitreous.nn.posterior import Posterior
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.physics.linear_posterior import linear_posterior
from vitreous.physics.slices import FourierVolume
from vitreous.typing import Complex, Float, Rotations

PIXEL_SIZE_TOLERANCE = 0.01
"""Share by which pixel sizes may differ that are one: files round them."""


def flipped_hartley(values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"]) -> Float[Tensor, "b twice_k"]:
    """Hartley transform of phase-flipped images, as twice as many numbers as there are coefficients."""
    flipped = values * ctf.sign()
    return torch.cat([flipped.real - flipped.imag, flipped.real + flipped.imag], -1)


class PixelEncoder(ResidualMLP):
    """A network of the phase-flipped Hartley transform of an image; it is not told the orientation.

    Zhong et al. 2021 (doi:10.1038/s41592-020-01049-4).

    Parameters
    ----------
    count
        Coefficients of an image.
    dims
        Size of the latents.
    width, layers
        Size and number of the residual layers.
    """

    def __init__(self, count: int, dims: int, *, width: int, layers: int) -> None:
        super().__init__(2 * count, 2 * dims, width=width, layers=layers)

    def features(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations, scale: Tensor
    ) -> Float[Tensor, "b features"]:
        """What the network sees of images."""
        return flipped_hartley(values, ctf)


class MapsEncoder(ResidualMLP):
    """A network of how much of each of a few principal maps an image shows, in its own orientation.

    An image says of its particle's conformation what its residual from the mean map has in common with slices of the
    ways in which maps differ. Those are linear, and fitted to all particles beforehand (``--method pca``); from the
    mean and the standard deviation of their posterior the network makes the latent. It has a few inputs instead of as
    many as pixels, the same from all sides, and so little to learn by heart.

    Parameters
    ----------
    maps
        A mean and principal maps ``[1 + m, z, y, x]`` whose slices are unitary coefficients of images over noise of
        power 1; kept with the parameters.
    disc
        Coefficients of the images.
    dims
        Size of the latents.
    width, layers
        Size and number of the residual layers.
    """

    maps: Tensor

    def __init__(self, maps: Float[Tensor, "maps z y x"], disc: Disc, dims: int, *, width: int, layers: int) -> None:
        super().__init__(2 * (len(maps) - 1), 2 * dims, width=width, layers=layers)
        self.register_buffer("maps", maps)
        self._k = (disc.kx, disc.ky)
        self._volumes: tuple[FourierVolume, ...] = ()

    def features(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations, scale: Tensor
    ) -> Float[Tensor, "b features"]:
        """Mean and standard deviation of each principal map's share; ``scale · values`` have noise of power 1."""
        with torch.autocast(values.device.type, enabled=False), torch.no_grad():
            turned = rotations.detach().float()
            slices = torch.stack([volume.sample(turned, *self._k) for volume in self._transforms()], 1)
        mean, covariance = linear_posterior(values * scale, slices * ctf[:, None])
        return torch.cat([mean, covariance.diagonal(dim1=1, dim2=2).sqrt()], 1)

    def _transforms(self) -> tuple[FourierVolume, ...]:
        """Padded transforms of the maps where they are, made when they are first needed."""
        if not self._volumes or self._volumes[0].grid.device != self.maps.device:
            self._volumes = tuple(FourierVolume.from_map(values) for values in self.maps)
        return self._volumes


Encoder = PixelEncoder | MapsEncoder
"""Networks that take :meth:`features` of images to means and log-variances of latents."""


def make_encoder(disc: Disc, dims: int, maps: Tensor | None, *, width: int, layers: int) -> Encoder:
    """Make an encoder of images with the coefficients of ``disc``: of pixels, or of ``maps`` where there are some."""
    if maps is None:
        return PixelEncoder(len(disc.kx), dims, width=width, layers=layers)
    return MapsEncoder(maps, disc, dims, width=width, layers=layers)


def posterior_of(
    encoder: Encoder,
    values: Complex[Tensor, "b k"],
    ctf: Float[Tensor, "b k"],
    rotations: Rotations,
    scale: Tensor,
) -> Posterior:
    """Posteriors of the latents of images whose coefficients were divided by ``scale``."""
    mean, log_variance = encoder(encoder.features(values, ctf, rotations, scale)).float().chunk(2, -1)
    return Posterior(mean, log_variance)


def refuse_other_encoder(said: str | None, maps: Tensor | None) -> None:
    """Refuse settings that say another encoder than the one that the principal maps, or their absence, make."""
    if said == "maps" and maps is None:
        raise ConfigError("an encoder of maps needs principal maps", remedy="Fit them with Pca and pass its maps")
    if said == "pixels" and maps is not None:
        raise ConfigError("an encoder of pixels takes no principal maps", remedy="Leave the maps out")


def refuse_multiplied(particles: Particles, maps: object, flag: str) -> None:
    """Refuse particles that an encoder of maps cannot see.

    Parameters
    ----------
    particles
        What is to be encoded.
    maps
        Principal maps of the encoder, or whatever stands for those that are still to be found; None for other encoders.
    flag
        Chooses the encoder.
    """
    if particles.ctf_premultiplied and maps is not None:
        raise InputError(
            f"{flag} maps does not take particles that were multiplied by their CTF: the noise is no longer white",
            remedy=f"Give particles without the multiplication, or train with {flag} pixels, which takes these",
        )


def refuse_other_grid(particles: Particles, box: int, pixel_size_A: float) -> None:
    """Refuse particles on another grid than that of the particles which networks or maps were made of.

    Raises
    ------
    InputError
        With what to do.
    """
    same_pixel = math.isclose(particles.pixel_size_A, pixel_size_A, rel_tol=PIXEL_SIZE_TOLERANCE)
    if particles.box != box or not same_pixel:
        raise InputError(
            "the particles are on another grid than those of the run",
            expected=f"{box} px of {pixel_size_A:.4g} Å",
            found=f"{particles.box} px of {particles.pixel_size_A:.4g} Å",
            remedy=f"Larger images of the same field are brought to it with --box {box}; others must be resampled, or "
            "have another pixel size than stated (--pixel-size-A)",
        )
