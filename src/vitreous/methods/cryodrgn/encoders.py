"""Encoders: networks of images with their CTF and orientation, behind one interface."""

import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.fourier_images import flipped_hartley
from vitreous.reconstruct.linear_posterior import linear_posterior
from vitreous.typing import Complex, Float, Rotations


class PixelEncoder(ResidualMLP):
    """A network of the phase-flipped Hartley transform of an image; it is not told the orientation.

    Zhong et al. 2021 (doi:10.1038/s41592-020-01049-4).

    Parameters
    ----------
    count
        Coefficients of an image.
    dims
        Size of the latents.
    config
        Width and layers.
    """

    def __init__(self, count: int, dims: int, config: CryoDrgnConfig) -> None:
        super().__init__(2 * count, 2 * dims, width=config.encoder_width, layers=config.encoder_layers)

    def features(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations
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
    config
        Width and layers.
    """

    maps: Tensor

    def __init__(self, maps: Float[Tensor, "maps z y x"], disc: Disc, dims: int, config: CryoDrgnConfig) -> None:
        inputs = 2 * (len(maps) - 1)
        super().__init__(inputs, 2 * dims, width=config.encoder_width, layers=config.encoder_layers)
        self.register_buffer("maps", maps)
        self._k = (disc.kx, disc.ky)
        self._volumes: tuple[FourierVolume, ...] = ()

    def features(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations
    ) -> Float[Tensor, "b features"]:
        """Mean and standard deviation of each principal map's share; ``values`` have noise of power 1."""
        with torch.autocast(values.device.type, enabled=False), torch.no_grad():
            turned = rotations.detach().float()
            slices = torch.stack([volume.sample(turned, *self._k) for volume in self._transforms()], 1)
        mean, covariance = linear_posterior(values, slices * ctf[:, None])
        return torch.cat([mean, covariance.diagonal(dim1=1, dim2=2).sqrt()], 1)

    def _transforms(self) -> tuple[FourierVolume, ...]:
        """Padded transforms of the maps where they are, made when they are first needed."""
        if not self._volumes or self._volumes[0].grid.device != self.maps.device:
            self._volumes = tuple(FourierVolume.from_map(values) for values in self.maps)
        return self._volumes


Encoder = PixelEncoder | MapsEncoder
"""Networks that take :meth:`features` of images to means and log-variances of latents."""
