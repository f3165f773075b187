"""CryoDRGN: an encoder of images to latents and a decoder of latents to slices of Fourier space.

Zhong et al. 2021 (doi:10.1038/s41592-020-01049-4).
"""

import torch
from torch import Tensor, nn

from vitreous.data import Volume
from vitreous.fourier.transform import irfft3_centred
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.decoders import Decoder, make_decoder
from vitreous.nn.encoders import make_encoder, posterior_of
from vitreous.nn.posterior import Posterior
from vitreous.reconstruct.fourier_images import Views, half_disc
from vitreous.typing import Complex, Float, Rotations


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
    maps
        Of an encoder that looks for principal maps.
    """

    kxy: Tensor
    scale: Tensor

    def __init__(
        self, box: int, dims: int, config: CryoDrgnConfig, scale: float = 1.0, *, maps: Tensor | None = None
    ) -> None:
        super().__init__()
        disc = half_disc(box)
        self.box, self.dims = box, dims
        self.register_buffer("kxy", torch.stack([disc.kx, disc.ky], -1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale))
        self.encoder = make_encoder(disc, dims, maps, width=config.encoder_width, layers=config.encoder_layers)
        self.decoder = make_decoder(box, dims, config)

    def encode(self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations) -> Posterior:
        """Posteriors of the latents of images."""
        return posterior_of(self.encoder, values, ctf, rotations, self.scale)

    def encode_views(self, views: Views) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of images, which are brought to where the networks are."""
        device = self.kxy.device
        posterior = self.encode(views.values.to(device), views.ctf.to(device), views.rotations.to(device))
        return posterior.mean, posterior.log_variance

    def decode(self, rotations: Rotations, z: Float[Tensor, "n dims"]) -> Complex[Tensor, "n k"]:
        """Slices of the maps of ``z``, before the CTF."""
        return self.decoder(rotations, self.kxy, z)

    def forward(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean and log-variance of the latents, a sample of each, and the slices decoded there."""
        posterior = self.encode(values, ctf, rotations)
        z = posterior.drawn()
        return posterior.mean, posterior.log_variance, z, self.decode(rotations, z)

    def volume(self, z: Float[Tensor, " dims"], pixel_size_A: float) -> Volume:
        """Decode the map of one latent on the whole grid inside the Nyquist sphere, in single precision."""
        return decoded_map(self.decoder, z.to(self.kxy), float(self.scale), pixel_size_A)


def decoded_map(decoder: Decoder, z: Float[Tensor, " dims"], scale: float, pixel_size_A: float) -> Volume:
    """Map of a latent, in the units of images whose coefficients were divided by ``scale``."""
    with torch.no_grad():
        transform = decoder.transform(z)
    box = transform.shape[0]
    return Volume(irfft3_centred(transform * scale * box, box), pixel_size_A)
