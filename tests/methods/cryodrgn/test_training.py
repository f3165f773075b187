"""Training: batches, exact resume, poses, and that it learns a motion."""

import math
from itertools import islice

import pytest
import torch

from tests.methods.moving_blobs import PIXEL_SIZE_A, blob_map, moving_blobs
from vitreous.compute.processes import Rank
from vitreous.compute.progress import SilentProgress
from vitreous.errors import ConfigError
from vitreous.evaluate.latents import conformation_error
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import rotation_from_vector
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.method import CryoDrgn, TrainedAutoencoder
from vitreous.methods.cryodrgn.training import Training
from vitreous.reconstruct.fourier_images import FourierImages, corrected_poses
from vitreous.runs.checkpoint import Checkpointer
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

SMALL = CryoDrgnConfig(encoder_width=32, decoder_width=32, encoder_layers=1, decoder_layers=1, batch=8, epochs=2)


def task(n: int = 27, **changes: object) -> Training:
    config = CryoDrgnConfig(**{**SMALL.__dict__, **changes})
    return Training(FourierImages(moving_blobs(n).particles, config.window), 2, config)


def test_an_epoch_holds_no_particle_twice_and_epochs_differ() -> None:
    batches = [batch["rows"] for batch in islice(task().batches(0, Rank()), 6)]
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert len(first.unique()) == len(second.unique()) == 24
    assert not torch.equal(first, second)


def test_batches_depend_on_the_step_alone_and_processes_share_them() -> None:
    whole = next(islice(task().batches(0, Rank()), 4, None))
    again = next(task().batches(4, Rank()))
    torch.testing.assert_close(whole["values"], again["values"])
    parts = [next(task().batches(4, Rank(number, 2)))["rows"] for number in range(2)]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole["rows"].tolist())


@pytest.mark.parametrize("refine", [False, True])
def test_resumed_training_ends_with_the_same_bits(tmp_path, refine: bool) -> None:
    changes = {"refine_poses": refine, "pose_wait": 1.0}
    whole = fit(task(**changes), TrainConfig(steps=6, gradient_clip=None))
    store = Callbacks(store=Checkpointer(tmp_path / "checkpoint.safetensors", {}))
    fit(task(**changes), TrainConfig(steps=2, gradient_clip=None), None, store)
    resumed = fit(task(**changes), TrainConfig(steps=6, gradient_clip=None), None, store)
    assert resumed.first_step == 2
    for name, value in whole.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name


def test_beta_rises_over_its_ramp() -> None:
    assert task(beta=0.4, beta_ramp=2.0).beta(0.5) == pytest.approx(0.1)
    assert task(beta=0.4, beta_ramp=2.0).beta(5.0) == pytest.approx(0.4)
    assert task().beta(0.0) == pytest.approx(0.5)


def test_corrections_act_in_training_as_the_poses_that_are_returned(generator) -> None:
    made = task(refine_poses=True, window=1.0)
    module = made.module()
    module.corrections.turns.data = 0.1 * torch.randn(27, 3, generator=generator)
    module.corrections.shifts.data = 0.05 * torch.randn(27, 2, generator=generator)
    images = made.images
    corrected = corrected_poses(images, module.corrections, SilentProgress())
    rows = torch.arange(5)
    views = images.views(rows)
    batch = {**vars(views), "rows": rows}
    torch.manual_seed(3)
    mean, _, _, slices, values = module(batch, moves_poses=True)
    moved = images.with_poses(corrected).views(rows)
    torch.manual_seed(3)
    expected = module.autoencoder(moved.values, moved.ctf, moved.rotations)
    torch.testing.assert_close(values, moved.values, atol=1e-4, rtol=0)
    torch.testing.assert_close(mean, expected[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(slices, expected[3], atol=1e-4, rtol=0)


def test_poses_wait_for_their_epoch_and_then_move() -> None:
    waiting = fit(task(refine_poses=True, pose_wait=5.0), TrainConfig(steps=4)).parameters["corrections.turns"]
    moving = fit(task(refine_poses=True, pose_wait=0.0), TrainConfig(steps=4)).parameters["corrections.turns"]
    assert float(waiting.abs().max()) == 0.0
    assert float(moving.abs().max()) > 0.0


@pytest.mark.parametrize(
    ("changes", "flag"),
    [({"batch": 0}, "--batch"), ({"window": 1.5}, "--window"), ({"learning_rate": 0.0}, "--learning-rate")],
)
def test_settings_that_cannot_be_are_refused_by_their_flag(changes, flag: str) -> None:
    with pytest.raises(ConfigError, match=f"{flag} cannot be used"):
        CryoDrgnConfig(**changes)


@pytest.fixture(scope="module")
def learned():
    """A short training on particles whose moving blob goes along half a circle."""
    scene = moving_blobs(600, noise=0.5, arc=math.pi)
    config = CryoDrgnConfig(
        encoder_width=64, decoder_width=64, batch=8, epochs=12, learning_rate=2e-3, beta=0.5, window=1.0
    )

    def train(made: Training):
        return fit(made, TrainConfig(steps=config.epochs * made.steps_per_epoch, gradient_clip=None)).parameters

    return scene, CryoDrgn(2, config).run(scene.particles, SilentProgress(), train)


def test_maps_follow_the_motion_in_the_frame_of_the_poses(learned) -> None:
    scene, (result, model) = learned
    own, opposite, mirrored = [], [], []
    for row in range(0, 600, 60):
        decoded, angle = model.volume(result.latents[row]).values, float(scene.angles[row])
        own.append(fsc(decoded, blob_map(angle, 16).values)[1:6])
        opposite.append(fsc(decoded, blob_map(angle + math.pi, 16).values)[1:6])
        mirrored.append(fsc(decoded.flip(0).roll(1, 0), blob_map(angle, 16).values)[1:6])
    agreement, with_opposite, with_mirrored = (float(torch.stack(c).mean()) for c in (own, opposite, mirrored))
    assert agreement > 0.8
    assert with_opposite < agreement - 0.04
    assert with_mirrored < agreement - 0.04


def test_latents_know_the_motion(learned) -> None:
    scene, (result, _) = learned
    found = conformation_error(result.latents, scene.angles, torch.Generator().manual_seed(0)).summary()
    assert found["circular_correlation"] > 0.5


def test_a_model_read_back_embeds_as_the_one_that_was_trained(learned) -> None:
    scene, (result, model) = learned
    again = TrainedAutoencoder.from_state(model.state, model.config)
    found = again.embed(scene.particles, SilentProgress())
    torch.testing.assert_close(found.mean, result.latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std, result.latent_std, atol=1e-5, rtol=0)
    assert (again.box, again.pixel_size_A) == (16, PIXEL_SIZE_A)


def test_turns_are_made_in_the_frame_of_the_image() -> None:
    made = task(refine_poses=True)
    module, poses = made.module(), made.images.poses
    module.corrections.turns.data[:, 2] = 0.2
    corrected = corrected_poses(made.images, module.corrections, SilentProgress())
    about_the_beam = rotation_from_vector(torch.tensor([[0.0, 0.0, 0.2]]))
    torch.testing.assert_close(corrected.rotations, about_the_beam @ poses.rotations, atol=1e-5, rtol=0)
