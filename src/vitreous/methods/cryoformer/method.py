"""CryoFormer: latents and maps of particles with known poses."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Result
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.model import TrainedCryoFormer
from vitreous.methods.cryoformer.motion_maps import motion_maps
from vitreous.methods.cryoformer.training import Training
from vitreous.reconstruct.fourier_images import FourierImages

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
    """

    def __init__(self, dims: int, config: CryoFormerConfig | None = None) -> None:
        self.dims = dims
        self.config = config or CryoFormerConfig()

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
            The result holds the latents, the maps of :func:`motion_maps` and the networks' state.

        Raises
        ------
        InputError
            Where the particles have no poses.
        """
        images = FourierImages(particles, self.config.window).load(progress)
        task = Training(images, self.dims, self.config)
        network = task.module()
        network.load_state_dict(train(task))
        model = TrainedCryoFormer.of(network, self.config, particles.pixel_size_A, device)
        latents = model.embed_images(images, progress)
        maps, share = motion_maps(model, latents.mean, progress)
        result = Result(
            latents=latents.mean, latent_std=latents.std, state=model.state, maps=maps, metrics={"moving_share": share}
        )
        return result, model
