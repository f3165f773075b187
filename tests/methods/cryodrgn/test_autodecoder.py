"""The autodecoder finds a planted motion, for its own images and for new ones, with either decoder."""

import math

import pytest
import torch

from tests.methods.moving_blobs import PIXEL_SIZE_A, moving_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.errors import ConfigError
from vitreous.evaluate.latents import ConformationError, conformation_error, regress_angles
from vitreous.methods.cryodrgn.autodecoder import LatentTraining, TrainedAutodecoder
from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
from vitreous.methods.cryodrgn.method import Autodecoder
from vitreous.methods.cryodrgn.training import Training
from vitreous.reconstruct.fourier_images import FourierImages
from vitreous.runs.checkpoint import Checkpointer
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

ARC = 0.6 * math.pi


def train(task) -> dict[str, torch.Tensor]:
    steps = task.base.config.epochs * task.steps_per_epoch
    return fit(task, TrainConfig(steps=steps, gradient_clip=None)).parameters


@pytest.fixture(scope="module", params=["mlp", "basis"])
def learned(request):
    """A short training on particles whose moving blob goes along an arc; one number to say where."""
    scene = moving_blobs(400, noise=0.4, arc=ARC)
    config = CryoDrgnConfig(
        decoder=request.param,
        decoder_width=64,
        batch=16,
        epochs=16,
        learning_rate=2e-3,
        basis_learning_rate=1e-2,
        beta=0.5,
        window=1.0,
    )
    return scene, Autodecoder(1, config).run(scene.particles, SilentProgress(), train)


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


def test_a_planted_latent_is_recovered(learned) -> None:
    scene, (result, _) = learned
    assert abs(correlation(result.latents[:, 0], scene.angles)) > 0.85


def test_new_particles_are_placed_by_descent_among_the_known_ones(learned) -> None:
    scene, (result, model) = learned
    new = moving_blobs(150, noise=0.4, arc=ARC, seed=5)
    found = model.embed(new.particles, SilentProgress())
    angles = regress_angles(result.latents, scene.angles, found.mean)
    assert ConformationError(new.angles, angles).summary()["circular_correlation"] > 0.8
    known = conformation_error(result.latents, scene.angles, torch.Generator().manual_seed(0)).summary()
    assert known["circular_correlation"] > 0.8


def test_deviations_say_how_far_the_latents_are_off(learned) -> None:
    scene, (result, _) = learned
    z, angles = result.latents[:, 0], scene.angles
    slope = correlation(z, angles) * z.std() / angles.std()
    off = (z - z.mean() - slope * (angles - angles.mean())).std()
    assert float(result.latent_std.mean()) == pytest.approx(float(off), rel=0.7)
    assert float(result.latent_std.max()) <= 1


def test_a_model_read_back_is_the_one_that_was_trained(learned) -> None:
    _, (result, model) = learned
    again = TrainedAutodecoder.from_state(model.state, model.config, model.settings)
    assert (again.box, again.pixel_size_A, again.dims) == (16, PIXEL_SIZE_A, 1)
    torch.testing.assert_close(again.volume(result.latents[3]).values, model.volume(result.latents[3]).values)


@pytest.mark.parametrize("decoder", ["mlp", "basis"])
def test_resumed_training_ends_with_the_same_bits(tmp_path, decoder: str) -> None:
    config = CryoDrgnConfig(decoder=decoder, decoder_width=16, decoder_layers=1, batch=8, patience=1)
    task = LatentTraining(Training(FourierImages(moving_blobs(27).particles, 0.85), 2, config))
    whole = fit(task, TrainConfig(steps=8, gradient_clip=None))
    store = Callbacks(store=Checkpointer(tmp_path / "checkpoint.safetensors", {}))
    fit(task, TrainConfig(steps=5, gradient_clip=None), None, store)
    resumed = fit(task, TrainConfig(steps=8, gradient_clip=None), None, store)
    assert resumed.first_step == 5
    for name, value in whole.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name


def test_settings_that_cannot_be_are_refused_by_their_flag() -> None:
    with pytest.raises(ConfigError, match=r"--autodecoder\.embed-steps cannot be used"):
        AutodecoderConfig(embed_steps=0)
    with pytest.raises(ConfigError, match="--refine-poses belongs to"):
        Autodecoder(2, CryoDrgnConfig(refine_poses=True))
