"""CryoFormer: an encoder of images to latents, and a field of points and latents."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitreous.compute.progress import Progress
from vitreous.data import Latents, Particles, Volume
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.fields import make_field
from vitreous.nn.encoders import make_encoder, posterior_of, refuse_multiplied, refuse_other_grid
from vitreous.nn.posterior import Posterior
from vitreous.reconstruct.fourier_images import FourierImages, Views, embedded, grid_of, half_disc
from vitreous.typing import Complex, Float, Rotations

_SURE = -4.0
"""Log-variance of the latents at the start, so that they tell images apart before they are drawn at random."""


class Network(nn.Module):
    """Deformation encoder and field; ``forward`` returns the posterior and the projections at a sample of it.

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

    scale: Tensor

    def __init__(
        self, box: int, dims: int, config: CryoFormerConfig, scale: float = 1.0, *, maps: Tensor | None = None
    ) -> None:
        super().__init__()
        self.box = box
        self.register_buffer("scale", torch.tensor(scale))
        shape = {"width": config.encoder_width, "layers": config.encoder_layers}
        self.encoder = make_encoder(half_disc(box), dims, maps, **shape)
        self.field = make_field(box, dims, config)

    def encode(self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations) -> Posterior:
        """Posteriors of the latents of images."""
        found = posterior_of(self.encoder, values, ctf, rotations, self.scale)
        return Posterior(found.mean, found.log_variance + _SURE)

    def encode_views(self, views: Views) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of images, which are brought to where the networks are."""
        device = self.scale.device
        posterior = self.encode(views.values.to(device), views.ctf.to(device), views.rotations.to(device))
        return posterior.mean, posterior.log_variance

    def forward(
        self, values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"], rotations: Rotations, box: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and log-variance of the latents, and projections before the CTF, rendered at ``box`` pixels."""
        posterior = self.encode(values, ctf, rotations)
        return posterior.mean, posterior.log_variance, self.field.coefficients(rotations, posterior.drawn(), box)


@dataclass(frozen=True)
class TrainedCryoFormer:
    """Networks that can be asked for latents and maps.

    Attributes
    ----------
    network
        Encoder and field.
    config
        Their settings.
    pixel_size_A
        Of the particles that they were trained on.
    """

    network: Network
    config: CryoFormerConfig
    pixel_size_A: float

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], config: CryoFormerConfig, device: torch.device | str = "cpu"
    ) -> "TrainedCryoFormer":
        """Load what :attr:`state` held."""
        of_network = dict(state)
        box, pixel_size_A = int(of_network.pop("box")), float(of_network.pop("pixel_size_A"))
        network = Network(box, len(state["encoder.last.bias"]) // 2, config, maps=state.get("encoder.maps"))
        network.load_state_dict(of_network)
        return cls.of(network, config, pixel_size_A, device)

    @classmethod
    def of(
        cls, network: Network, config: CryoFormerConfig, pixel_size_A: float, device: torch.device | str = "cpu"
    ) -> "TrainedCryoFormer":
        """Take networks that learn no longer."""
        return cls(network.eval().requires_grad_(False).to(device), config, pixel_size_A)

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and grid, as tensors; the settings are not among them."""
        return dict(self.network.state_dict()) | grid_of(self.box, self.pixel_size_A)

    @property
    def box(self) -> int:
        """Side of the maps in voxels."""
        return self.network.box

    def embed(self, particles: Particles, progress: Progress) -> Latents:
        """Return the latents of particles with poses by one forward pass.

        Raises
        ------
        InputError
            Where the particles have no poses, or lie on another grid than those of the training.
        """
        refuse_other_grid(particles, self.box, self.pixel_size_A)
        refuse_multiplied(particles, self.state.get("encoder.maps"), "--cryoformer.encoder")
        return self.embed_images(FourierImages(particles, self.config.window, float(self.network.scale)), progress)

    def embed_images(self, images: FourierImages, progress: Progress) -> Latents:
        """Return the latents of images, in batches."""
        return embedded(images, self.network.encode_views, progress)

    def volume(self, z: Float[Tensor, " dims"]) -> Volume:
        """Decode the map of one latent."""
        scale = self.network.scale
        return Volume(self.network.field.map(z.to(scale)) * float(scale), self.pixel_size_A)
