"""CryoFormer: latents and maps of particles with known poses, which may be refined."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Result
from vitreous.errors import ConfigError
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.model import TrainedCryoFormer
from vitreous.methods.cryoformer.motion_maps import motion_maps
from vitreous.methods.cryoformer.training import Training
from vitreous.nn.encoders import refuse_multiplied, refuse_other_encoder
from vitreous.reconstruct.fourier_images import FourierImages, at_corrected_poses

Train = Callable[[Training], Mapping[str, Tensor]]
"""Trains a task and returns the ``state_dict`` of its module."""


class CryoFormer:
    """Train encoder and field on particles with known poses and embed them.

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

    def __init__(self, dims: int, config: CryoFormerConfig | None = None, *, maps: Tensor | None = None) -> None:
        self.dims, self.maps = dims, maps
        self.config = config or CryoFormerConfig()
        refuse_other_encoder(self.config.encoder, maps)

    def run(
        self, particles: Particles, progress: Progress, train: Train, device: torch.device | str = "cpu"
    ) -> tuple[Result, TrainedCryoFormer]:
        """Train, embed all particles, and map what moves.

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
            The result holds the latents, the refined poses where they were, the maps of :func:`motion_maps` and the
            networks' state.

        Raises
        ------
        InputError
            Where the particles have no poses, or were multiplied by their CTF and the encoder is one of maps.
        ConfigError
            Where the coarsest grid is finer than the finest, which is that of the images unless ``finest`` says so.
        """
        refuse_multiplied(particles, self.maps, "--cryoformer.encoder")
        self._require_levels(particles.box)
        images = FourierImages(particles, self.config.window).load(progress)
        task = Training(images, self.dims, self.config, self.maps)
        trained = task.module()
        trained.load_state_dict(train(task))
        images, found = at_corrected_poses(images, trained.corrections, progress)
        model = TrainedCryoFormer.of(trained.network, self.config, particles.pixel_size_A, device)
        latents = model.embed_images(images, progress)
        maps, share = motion_maps(model, latents.mean, progress)
        result = replace(
            found,
            latents=latents.mean,
            latent_std=latents.std,
            state=model.state,
            maps=maps,
            metrics={"moving_share": share, **found.metrics},
        )
        return result, model

    def _require_levels(self, box: int) -> None:
        config = self.config
        if config.encoding == "hash" and config.finest is None and config.base > max(box, CryoFormerConfig.base):
            raise ConfigError(
                "--cryoformer.base is above the side of the images, which is that of the finest grid",
                expected=f"at most {box}",
                found=config.base,
                remedy="Lower --cryoformer.base, or give --cryoformer.finest",
            )
