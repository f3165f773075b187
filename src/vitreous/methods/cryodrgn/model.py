"""CryoDRGN: an encoder of images to latents and a decoder of latents to slices of Fourier space.

Zhong et al. 2021 (doi:10.1038/s41592-020-01049-4). The decoder is a network of a point in Fourier space and of z. It is
asked for points of one half space only; the others are complex conjugates of these, because maps are real.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitreous.data import Volume
from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import irfft3_centred
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.images import Views, half_disc
from vitreous.nn.positional import PositionalEncoding
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.typing import Complex, Float, Rotations

_POINTS_AT_ONCE = 16_384

_HALF_SPACE = (math.pi / 1000, math.e / 100, 1.0)
"""Normal of the plane between the half spaces: nearly z, and through no point of any grid but the origin."""


@dataclass(frozen=True)
class Posterior:
    """Normal distributions of the latents of some images, ``[b, dims]`` each."""

    mean: Float[Tensor, "b dims"]
    log_variance: Float[Tensor, "b dims"]

    def drawn(self) -> Float[Tensor, "b dims"]:
        """One sample of each, through which gradients flow."""
        return self.mean + torch.randn_like(self.mean) * (self.log_variance / 2).exp()

    def divergence(self) -> Float[Tensor, " b"]:
        """Kullback-Leibler divergence from the standard normal distribution."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(-1)


class SliceDecoder(nn.Module):
    """Coefficients of the map of a latent, at points of Fourier space.

    Parameters
    ----------
    box, dims
        Side of the images in pixels, size of the latents.
    config
        Width, layers, encoding.
    """

    def __init__(self, box: int, dims: int, config: CryoDrgnConfig) -> None:
        super().__init__()
        self.box = box
        self.encoding = PositionalEncoding(box, config.encoding, sigma=config.encoding_sigma)
        self.network = ResidualMLP(
            self.encoding.features, 2, width=config.decoder_width, layers=config.decoder_layers, shared=dims
        )

    def forward(
        self, axes: Float[Tensor, "b d 3"], k: Float[Tensor, "k d"], z: Float[Tensor, "b dims"]
    ) -> Complex[Tensor, "b k"]:
        """Coefficients of map b at the points ``k @ axes[b]``, in Fourier pixels."""
        with torch.autocast(k.device.type, enabled=False):
            axes = axes.float() / self.box
            # (k·axes)·vectors = k·(axes·vectors): points are never made, but for their half space
            height = k @ (axes @ axes.new_tensor(_HALF_SPACE)).T
            flip = 1 - 2 * (height > 0).T.float()[..., None]
            features = self.encoding((k @ (axes @ self.encoding.vectors.T)) * flip)
        real, imaginary = self.network(features, z).float().unbind(-1)
        return torch.complex(real, imaginary * flip[..., 0])


class Autoencoder(nn.Module):
    """Encoder and decoder; ``forward`` returns the posterior, samples of it, and slices before the CTF.

    Parameters
    ----------
    box, dims
        Side of the images in pixels, size of the latents.
    config
        The networks.
    scale
        Number by which coefficients were divided, kept with the parameters.
    """

    kxy: Tensor
    scale: Tensor

    def __init__(self, box: int, dims: int, config: CryoDrgnConfig, scale: float = 1.0) -> None:
        super().__init__()
        disc = half_disc(box)
        self.box, self.dims = box, dims
        self.register_buffer("kxy", torch.stack([disc.kx, disc.ky], -1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale))
        self.encoder = ResidualMLP(2 * len(disc.kx), 2 * dims, width=config.encoder_width, layers=config.encoder_layers)
        self.decoder = SliceDecoder(box, dims, config)

    def encode(self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"]) -> Posterior:
        """Posteriors of the latents of images, from their phase-flipped Hartley transforms."""
        flipped = values * ctf.sign()
        hartley = torch.cat([flipped.real - flipped.imag, flipped.real + flipped.imag], -1)
        mean, log_variance = self.encoder(hartley).float().chunk(2, -1)
        return Posterior(mean, log_variance)

    def decode(self, rotations: Rotations, z: Float[Tensor, "n dims"]) -> Complex[Tensor, "n k"]:
        """Slices of the maps of ``z``: the point ``Rᵀ(kx, ky, 0)`` is the row vector ``(kx, ky) @ R[:2]``."""
        return self.decoder(rotations[:, :2], self.kxy, z)

    def forward(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean and log-variance of the latents, a sample of each, and the slices decoded there."""
        posterior = self.encode(values, ctf)
        z = posterior.drawn()
        return posterior.mean, posterior.log_variance, z, self.decode(rotations, z)

    def volume(self, z: Float[Tensor, " dims"], pixel_size_A: float) -> Volume:
        """Decode the map of one latent on the whole grid inside the Nyquist sphere, in single precision."""
        box = self.box
        radii = half_space_radii(box)
        inside = radii < box / 2
        k = torch.fft.fftfreq(box, 1 / box)
        grid = torch.stack(torch.meshgrid(k, k, torch.arange(box // 2 + 1.0), indexing="ij"), -1)
        points = grid[inside].flip(-1).to(self.kxy)
        axes, one = torch.eye(3).to(points)[None], z[None].to(points)
        with torch.no_grad():
            parts = [self.decoder(axes, part, one)[0].cpu() for part in points.split(_POINTS_AT_ONCE)]
        transform = torch.zeros(radii.shape, dtype=torch.complex64)
        transform[inside] = torch.cat(parts) * float(self.scale) * box  # unitary coefficients of projections
        return Volume(irfft3_centred(transform, box), pixel_size_A)


def encode_views(model: Autoencoder, views: Views) -> Posterior:
    """Posteriors of the latents of images, without gradients."""
    device = model.kxy.device
    with torch.no_grad():
        return model.encode(views.values.to(device), views.ctf.to(device))
