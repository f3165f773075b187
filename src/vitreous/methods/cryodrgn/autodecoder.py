"""A decoder without an encoder: a latent per image, learned with the maps (DRGN-AI; Levy et al. 2024).

Latents of new images are found by gradient descent with the decoder held. The prior of a latent is the standard normal
distribution, with the weight that the divergence has in the variational autoencoder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from vitreous.compute.processes import Rank
from vitreous.compute.progress import Progress
from vitreous.data import Latents, Particles, Volume
from vitreous.errors import ConfigError
from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
from vitreous.methods.cryodrgn.decoders import make_decoder
from vitreous.methods.cryodrgn.model import decoded_map
from vitreous.methods.cryodrgn.schedule import Schedule
from vitreous.methods.cryodrgn.training import Training, adam
from vitreous.nn.encoders import refuse_other_grid
from vitreous.reconstruct.fourier_images import FourierImages, Views, grid_of, half_disc
from vitreous.typing import Complex, Float, Rotations

_BATCH = 128
_START = 0.1
_STEP = 0.05


class SliceModel(nn.Module):
    """A decoder with the coefficients that images have.

    Parameters
    ----------
    box, dims
        Side of the images in pixels, size of the latents.
    config
        The decoder.
    scale
        Number by which coefficients were divided, kept with the parameters.
    """

    kxy: Tensor
    scale: Tensor

    def __init__(self, box: int, dims: int, config: CryoDrgnConfig, scale: float = 1.0) -> None:
        super().__init__()
        disc = half_disc(box)
        self.box = box
        self.register_buffer("kxy", torch.stack([disc.kx, disc.ky], -1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale))
        self.decoder = make_decoder(box, dims, config)

    def forward(self, rotations: Rotations, z: Float[Tensor, "n dims"]) -> Complex[Tensor, "n k"]:
        """Slices of the maps of ``z``, before the CTF."""
        return self.decoder(rotations, self.kxy, z)


class LatentTable(nn.Module):
    """A decoder, and the latents of all images."""

    def __init__(self, model: SliceModel, particles: int, dims: int) -> None:
        super().__init__()
        self.model = model
        self.latents = nn.Parameter(_START * torch.randn(particles, dims))

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the latents of a batch and their slices, before the CTF."""
        z = self.latents[batch["rows"]]
        return z, self.model(batch["rotations"], z)


@dataclass(frozen=True)
class LatentTraining:
    """A task for :func:`vitreous.train.loop.fit`.

    Attributes
    ----------
    base
        Images, size of the latents, decoder and optimisation; its encoder is not used.
    settings
        Of the latents.
    """

    base: Training
    settings: AutodecoderConfig = field(default_factory=AutodecoderConfig)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the particle set."""
        return self.base.steps_per_epoch

    def module(self) -> LatentTable:
        """Make decoder and latents."""
        images, dims = self.base.images, self.base.dims
        model = SliceModel(images.particles.box, dims, self.base.config, images.scale)
        return LatentTable(model, len(images), dims)

    def optimizer(self, module: nn.Module) -> Optimizer:
        """Make Adam; latents have a rate of their own."""
        return adam(module, self.base.config, latents=self.settings.learning_rate)

    def scheduler(self, optimizer: Optimizer) -> Schedule:
        """Halve the rates as the autoencoder's are; latents, which move once an epoch, need theirs to the end."""
        config = self.base.config
        return self.base.schedule(optimizer, config.patience or 0, config.beta_ramp, anneal=0.0)

    def batches(self, first_step: int, rank: Rank) -> Iterator[dict[str, Any]]:
        """Yield this process's images of every step."""
        return self.base.batches(first_step, rank)

    def training_step(self, module: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the loss: mean squared residual per coefficient, and the prior of the latents."""
        z, slices = module(batch)
        residual, prior = _misfit(slices * batch["ctf"], batch["values"]).mean(), 0.5 * z.square().sum(-1).mean()
        loss = residual + self.base.beta(self.base.epoch(batch)) * prior / (2 * slices.shape[1])
        return {"loss": loss, "residual": residual, "prior": prior}


@dataclass(frozen=True)
class TrainedAutodecoder:
    """A decoder that can be asked for latents, by gradient descent, and for maps.

    Attributes
    ----------
    model
        The decoder.
    dims
        Size of the latents.
    config, settings
        Of decoder and latents.
    pixel_size_A
        Of the particles that it was trained on.
    """

    model: SliceModel
    dims: int
    config: CryoDrgnConfig
    settings: AutodecoderConfig
    pixel_size_A: float

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        config: CryoDrgnConfig,
        settings: AutodecoderConfig,
        device: torch.device | str = "cpu",
    ) -> "TrainedAutodecoder":
        """Load what :attr:`state` held."""
        of_model = dict(state)
        box, pixel_size_A, dims = (of_model.pop(name) for name in ("box", "pixel_size_A", "dims"))
        model = SliceModel(int(box), int(dims), config)
        model.load_state_dict(of_model)
        return cls(model.eval().requires_grad_(False).to(device), int(dims), config, settings, float(pixel_size_A))

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and grid, as tensors; the settings are not among them."""
        grid = grid_of(self.box, self.pixel_size_A) | {"dims": torch.tensor(self.dims)}
        return dict(self.model.state_dict()) | grid

    @property
    def box(self) -> int:
        """Side of the maps in voxels."""
        return self.model.box

    def embed(self, particles: Particles, progress: Progress) -> Latents:
        """Find the latents of particles with poses by gradient descent from 0.

        Raises
        ------
        InputError
            Where the particles have no poses, or lie on another grid than those of the training.
        """
        refuse_other_grid(particles, self.box, self.pixel_size_A)
        images = FourierImages(particles, self.config.window, float(self.model.scale))
        return self._each(images, progress, torch.zeros(len(images), self.dims), descends=True)

    def known(self, images: FourierImages, z: Float[Tensor, "n dims"], progress: Progress) -> Latents:
        """Return latents that are known already, with how sure they are."""
        return self._each(images, progress, z, descends=False)

    def volume(self, z: Float[Tensor, " dims"]) -> Volume:
        """Decode the map of one latent."""
        return decoded_map(self.model.decoder, z.to(self.model.kxy), float(self.model.scale), self.pixel_size_A)

    def _each(self, images: FourierImages, progress: Progress, start: Tensor, *, descends: bool) -> Latents:
        found, deviations = [], []
        device = self.model.kxy.device
        with progress.stage("Embedding", total=len(images)):
            for rows in torch.arange(len(images)).split(_BATCH):
                views = Views(**{name: value.to(device) for name, value in vars(images.views(rows)).items()})
                z = start[rows].to(device)
                z = self._descended(views, z) if descends else z
                found.append(z.cpu())
                deviations.append(self._deviations(views, z).cpu())
                progress.advance(len(rows))
        return Latents(torch.cat(found), torch.cat(deviations))

    def _descended(self, views: Views, start: Tensor) -> Tensor:
        z = start.clone().requires_grad_()
        optimizer = Adam([z], self.settings.learning_rate)
        weight = self.config.full_beta(self.dims) / (4 * views.values.shape[1])
        for _ in range(self.settings.embed_steps):
            predicted = self.model(views.rotations, z) * views.ctf
            loss = (_misfit(predicted, views.values) + weight * z.square().sum(-1)).sum()
            (z.grad,) = torch.autograd.grad(loss, z)
            optimizer.step()
        return z.detach()

    def _deviations(self, views: Views, z: Tensor) -> Tensor:
        """Standard deviations of a normal distribution at ``z`` (Laplace), one latent dimension at a time.

        ``−log p = |y − C F(z)|²/σ² + |z|²/2`` for complex noise of power σ², which is taken from the residual.
        """
        with torch.no_grad():
            power = _misfit(self.model(views.rotations, z) * views.ctf, views.values)
            found = []
            for step in _STEP * torch.eye(self.dims, device=z.device):
                ahead, behind = (self.model(views.rotations, z + sign * step) for sign in (1, -1))
                slope = (ahead - behind).abs() * views.ctf / (2 * _STEP)
                found.append(1 + 2 * slope.square().sum(-1) / power)
        return torch.stack(found, -1).rsqrt()


def refuse_moving_poses(config: CryoDrgnConfig) -> None:
    """Refuse what an autodecoder does not do.

    Raises
    ------
    ConfigError
        Where poses are to be refined.
    """
    if config.refine_poses:
        raise ConfigError("--refine-poses belongs to --method cryodrgn and cryonoo", remedy="Leave it out")


def _misfit(predicted: Complex[Tensor, "b k"], observed: Complex[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """Mean ``|ΔF|²`` of every image."""
    return torch.view_as_real(predicted - observed).square().sum(-1).mean(-1)
