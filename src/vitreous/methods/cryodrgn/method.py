"""CryoDRGN, CryoNOO and the autodecoder: latents and maps of particles with known poses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Latents, Particles, Result, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.methods.cryodrgn.autodecoder import LatentTraining, TrainedAutodecoder, refuse_moving_poses
from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
from vitreous.methods.cryodrgn.distillation import DistillingTraining
from vitreous.methods.cryodrgn.model import Autoencoder
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.cryodrgn.training import Training
from vitreous.nn.encoders import refuse_multiplied, refuse_other_encoder, refuse_other_grid
from vitreous.nn.pose_corrections import PoseTable
from vitreous.reconstruct.fourier_images import FourierImages, at_corrected_poses, embedded, grid_of
from vitreous.typing import Float

Task = Training | DistillingTraining | LatentTraining
"""What the methods train."""

Train = Callable[[Task], Mapping[str, Tensor]]
"""Trains a task and returns the ``state_dict`` of its module."""

_NETWORK, _MODEL, _CORRECTIONS, _SLICES = "network.", "autoencoder.", "corrections.", "model."


@dataclass(frozen=True)
class TrainedAutoencoder:
    """Networks that can be asked for latents and maps.

    Attributes
    ----------
    model
        Encoder and decoder.
    config
        Their settings.
    pixel_size_A
        Of the particles that they were trained on.
    """

    model: Autoencoder
    config: CryoDrgnConfig
    pixel_size_A: float

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], config: CryoDrgnConfig, device: torch.device | str = "cpu"
    ) -> "TrainedAutoencoder":
        """Load what :attr:`state` held."""
        of_networks = dict(state)
        box, pixel_size_A = int(of_networks.pop("box")), float(of_networks.pop("pixel_size_A"))
        model = Autoencoder(box, len(state["encoder.last.bias"]) // 2, config, maps=state.get("encoder.maps"))
        model.load_state_dict(of_networks)
        return cls(model.eval().to(device), config, pixel_size_A)

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and grid, as tensors; the settings are not among them."""
        return dict(self.model.state_dict()) | grid_of(self.box, self.pixel_size_A)

    @property
    def box(self) -> int:
        """Side of the maps in voxels."""
        return self.model.box

    def embed(self, particles: Particles, progress: Progress) -> Latents:
        """Return the latents of particles with poses by one forward pass.

        Raises
        ------
        InputError
            Where the particles have no poses, are on another grid than those that the networks were trained on, or were
            multiplied by their CTF and the encoder is one of maps.
        """
        refuse_other_grid(particles, self.box, self.pixel_size_A)
        refuse_multiplied(particles, self.state.get("encoder.maps"), "--encoder")
        return self.embed_images(FourierImages(particles, self.config.window, float(self.model.scale)), progress)

    def embed_images(self, images: FourierImages, progress: Progress) -> Latents:
        """Return the latents of images, in batches."""
        return embedded(images, self.model.encode_views, progress)

    def volume(self, z: Float[Tensor, " dims"]) -> Volume:
        """Decode the map of one latent."""
        return self.model.volume(z, self.pixel_size_A)


class CryoDrgn:
    """Train an autoencoder on particles with known poses and embed them.

    Parameters
    ----------
    dims
        Size of the latents.
    config
        Networks and training.
    maps
        A mean and principal maps, for an encoder that looks for them: those of :class:`vitreous.methods.pca.Pca`.

    Raises
    ------
    ConfigError
        Where the encoder is said to be one of maps and there are none, or of pixels and there are.
    """

    def __init__(self, dims: int, config: CryoDrgnConfig | None = None, *, maps: Tensor | None = None) -> None:
        self.dims, self.maps = dims, maps
        self.config = config or CryoDrgnConfig()
        refuse_other_encoder(self.config.encoder, maps)

    def run(
        self, particles: Particles, progress: Progress, train: Train, device: torch.device | str = "cpu"
    ) -> tuple[Result, TrainedAutoencoder]:
        """Train, then embed all particles.

        Parameters
        ----------
        particles
            Particles with poses.
        progress
            Shows how far it is.
        train
            Does the training: the loop of :mod:`vitreous.train`, with its device, precision and checkpoints.
        device
            Where particles are embedded.

        Returns
        -------
        result, model
            The result holds the latents, the refined poses where they were, and the networks' state.

        Raises
        ------
        InputError
            Where the particles have no poses.
        """
        refuse_multiplied(particles, self.maps, "--encoder")
        images = FourierImages(particles, self.config.window).load(progress)
        task = Training(images, self.dims, self.config, self.maps)
        return _embedded(task, train(task), progress, device)


class CryoNoo:
    """Train an autoencoder whose encoder sees through noise, and embed the particles.

    Parameters
    ----------
    dims
        Size of the latents.
    config
        Networks and training.
    noo
        Self-distillation.
    maps
        See :class:`CryoDrgn`; :meth:`run` needs them, but for an encoder of pixels: with ``encoder="pixels"`` in the
        config, or views that are turned.

    Raises
    ------
    ConfigError
        Where batches are too small, or end before the warm-up does, or the encoder does not fit the maps.
    """

    def __init__(
        self,
        dims: int,
        config: CryoDrgnConfig | None = None,
        noo: CryoNooConfig | None = None,
        *,
        maps: Tensor | None = None,
    ) -> None:
        self.dims, self.maps = dims, maps
        self.config, self.noo = config or CryoDrgnConfig(), noo or CryoNooConfig()
        refuse_other_encoder(self.config.encoder, maps)
        self.noo.refuse_unless_reached(self.config)

    def run(
        self, particles: Particles, progress: Progress, train: Train, device: torch.device | str = "cpu"
    ) -> tuple[Result, TrainedAutoencoder]:
        """Train, then embed all particles; parameters and result are those of :meth:`CryoDrgn.run`.

        Raises
        ------
        InputError
            Where the particles have no poses, or were multiplied by their CTF, which makes their noise coloured.
        ConfigError
            Where there are no principal maps, and the config does not say that the encoder is one of pixels.
        """
        if particles.ctf_premultiplied and self.noo.views == "rendered":
            raise InputError(
                "views cannot be rendered of particles that were multiplied by their CTF: the noise is no longer white",
                remedy="Extract the particles without the multiplication, or use --method cryodrgn",
            )
        self._refuse_unsaid_pixels()
        refuse_multiplied(particles, self.maps, "--encoder")
        images = FourierImages(particles, self.config.window).load(progress)
        task = DistillingTraining(Training(images, self.dims, self.config, self.maps), self.noo)
        return _embedded(task.base, _below(train(task), _NETWORK), progress, device)

    def _refuse_unsaid_pixels(self) -> None:
        if self.maps is None and self.config.encoder is None and self.noo.views != "turned":
            raise ConfigError(
                "CryoNoo looks for principal maps, as no encoder is said, and there are none",
                remedy='Fit them with Pca and pass them as maps=, or say CryoDrgnConfig(encoder="pixels")',
            )


class Autodecoder:
    """Learn a latent per particle and the maps together, without an encoder.

    Parameters
    ----------
    dims
        Size of the latents.
    config
        Decoder and training.
    settings
        Of the latents.
    """

    def __init__(
        self, dims: int, config: CryoDrgnConfig | None = None, settings: AutodecoderConfig | None = None
    ) -> None:
        self.dims = dims
        self.config, self.settings = config or CryoDrgnConfig(), settings or AutodecoderConfig()
        refuse_moving_poses(self.config)

    def run(
        self, particles: Particles, progress: Progress, train: Train, device: torch.device | str = "cpu"
    ) -> tuple[Result, TrainedAutodecoder]:
        """Train; parameters and result are those of :meth:`CryoDrgn.run`.

        Raises
        ------
        InputError
            Where the particles have no poses.
        """
        images = FourierImages(particles, self.config.window).load(progress)
        parameters = train(LatentTraining(Training(images, self.dims, self.config), self.settings))
        grid = grid_of(particles.box, particles.pixel_size_A) | {"dims": torch.tensor(self.dims)}
        state = _below(parameters, _SLICES) | grid
        model = TrainedAutodecoder.from_state(state, self.config, self.settings, device)
        latents = model.known(images, parameters["latents"].clone(), progress)
        return Result(latents=latents.mean, latent_std=latents.std, state=state), model


def _embedded(
    task: Training, parameters: Mapping[str, Tensor], progress: Progress, device: torch.device | str
) -> tuple[Result, TrainedAutoencoder]:
    images, particles = task.images, task.images.particles
    state = _below(parameters, _MODEL) | grid_of(particles.box, particles.pixel_size_A)
    model = TrainedAutoencoder.from_state(state, task.config, device)
    corrections = None
    if task.config.refine_poses:
        corrections = PoseTable(len(particles))
        corrections.load_state_dict(_below(parameters, _CORRECTIONS))
    images, found = at_corrected_poses(images, corrections, progress)
    latents = model.embed_images(images, progress)
    return replace(found, latents=latents.mean, latent_std=latents.std, state=state), model


def _below(parameters: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return {name: value.clone() for name, value in found.items()}
