"""Training: the rendered box, exact resume, and a map in the frame of the poses."""

import math

import pytest
import torch

from tests.methods.moving_blobs import PIXEL_SIZE_A, blob_map, moving_blobs
from vitreous.compute.processes import Rank
from vitreous.compute.progress import SilentProgress
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.shells import fsc
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.method import CryoFormer
from vitreous.methods.cryoformer.model import TrainedCryoFormer
from vitreous.methods.cryoformer.training import Training
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.pca.method import Pca
from vitreous.reconstruct.fourier_images import FourierImages
from vitreous.runs.checkpoint import Checkpointer
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

BOX = 12
SMALL = {"queries": 4, "channels": 8, "levels": 2, "log2_entries": 12, "base": 8, "encoder_layers": 1, "batch": 8}


def task(n: int = 27, **changes: object) -> Training:
    config = CryoFormerConfig(**{**SMALL, "epochs": 2, "march": 0.5, "first_box": 8, **changes})
    return Training(FourierImages(moving_blobs(n, BOX).particles, config.window), 2, config)


def test_the_rendered_box_grows_to_the_images_own() -> None:
    config = CryoFormerConfig(first_box=16, march=0.6)
    sides = [config.box_at(done / 100, 64) for done in range(100)]
    assert (sides[0], sides[30], sides[60], sides[-1]) == (16, 32, 64, 64)
    assert sides == sorted(sides)
    assert all(side % 2 == 0 for side in sides)
    assert CryoFormerConfig(first_box=32).box_at(0.0, 24) == 24
    assert CryoFormerConfig(march=0.0).box_at(0.0, 33) == 33


@pytest.mark.parametrize("domain", ["real", "fourier"])
def test_resumed_training_ends_with_the_same_bits(tmp_path, domain: str) -> None:
    whole = fit(task(domain=domain), TrainConfig(steps=6, gradient_clip=None))
    store = Callbacks(store=Checkpointer(tmp_path / "checkpoint.safetensors", {}))
    fit(task(domain=domain), TrainConfig(steps=2, gradient_clip=None), None, store)
    resumed = fit(task(domain=domain), TrainConfig(steps=6, gradient_clip=None), None, store)
    assert resumed.first_step == 2
    for name, value in whole.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name


def test_the_divergence_counts_more_and_more() -> None:
    config = CryoFormerConfig(beta_ramp=0.5)
    assert [config.beta_at(done, 4) for done in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0, 0.125, 0.25, 0.25])
    assert CryoFormerConfig(beta=0.3, beta_ramp=0.0).beta_at(0.0, 4) == 0.3


def test_the_loss_compares_what_the_rendered_box_has() -> None:
    made = task(beta_ramp=0.0)
    module, batch = made.module(), next(made.batches(0, Rank()))
    torch.manual_seed(1)
    found = {name: float(value.detach()) for name, value in made.training_step(module, batch).items()}
    torch.manual_seed(1)
    projections = module(batch, 8, moves_poses=False).projections
    count = projections.shape[1]
    difference = projections.detach() * batch["ctf"][:, :count] - batch["values"][:, :count]
    assert found["box"] == 8
    assert found["residual"] == pytest.approx(float(difference.abs().square().mean()), rel=1e-5)
    expected = found["residual"] + 0.5 * found["divergence"] / (2 * count)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"batch": 0}, "batch"),
        ({"radius": 1.5}, "radius"),
        ({"first_box": 9}, "first-box"),
        ({"finest": 8}, "finest"),
        ({"grid_learning_rate": math.nan}, "grid-learning-rate"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_flag(changes, flag: str) -> None:
    with pytest.raises(ConfigError, match=rf"--cryoformer\.{flag} cannot be used"):
        CryoFormerConfig(**changes)


@pytest.fixture(scope="module")
def learned():
    """A short training on clear particles, of which one blob moves."""
    scene = moving_blobs(300, BOX, noise=0.1, arc=math.pi)
    config = CryoFormerConfig(
        **{**SMALL, "queries": 8, "channels": 16, "levels": 1, "encoder_width": 64, "encoder_layers": 2},
        **{"finest": 8, "radius": 1.0, "window": 1.0, "epochs": 4, "march": 0.0, "learning_rate": 3e-3},
    )

    def train(made: Training):
        return fit(made, TrainConfig(steps=config.epochs * made.steps_per_epoch, gradient_clip=None)).parameters

    return scene, CryoFormer(2, config).run(scene.particles, SilentProgress(), train)


def test_the_map_comes_out_in_the_frame_and_hand_of_the_poses(learned) -> None:
    scene, (result, model) = learned
    truth = torch.stack([blob_map(float(angle), BOX).values for angle in scene.angles[::5]]).mean(0)
    decoded = model.volume(result.latents.mean(0)).values
    agreement, with_mirrored = (float(fsc(each, truth)[1:5].mean()) for each in (decoded, decoded.flip(0).roll(1, 0)))
    assert agreement > 0.7
    assert with_mirrored < agreement - 0.1


@pytest.fixture(scope="module")
def with_maps():
    """A longer one on noisy particles that go round a circle, with an encoder of maps."""
    scene = moving_blobs(300, BOX, noise=0.5)
    maps = Pca(3, PcaConfig(iterations=6)).run(scene.particles, SilentProgress())[1].maps
    config = CryoFormerConfig(
        **{**SMALL, "queries": 8, "channels": 16, "levels": 1, "encoder_width": 32, "encoder_layers": 2},
        **{"finest": 8, "radius": 1.0, "window": 1.0, "epochs": 8, "march": 0.0, "learning_rate": 3e-3},
    )

    def train(made: Training):
        return fit(made, TrainConfig(steps=config.epochs * made.steps_per_epoch, gradient_clip=None)).parameters

    return scene, CryoFormer(2, config, maps=maps).run(scene.particles, SilentProgress(), train)


def test_an_encoder_of_maps_tells_the_angles_of_new_particles(with_maps) -> None:
    scene, (result, model) = with_maps
    new = moving_blobs(150, BOX, noise=0.5, seed=5)
    found = model.embed(new.particles, SilentProgress()).mean
    nearest = torch.cdist(found, result.latents).topk(5, largest=False).indices
    direction = torch.polar(torch.ones_like(scene.angles), scene.angles)[nearest].mean(1)
    off = (direction * torch.polar(torch.ones_like(new.angles), -new.angles)).angle().abs()
    assert math.degrees(float(off.median())) < 45  # 90 by chance
    again = TrainedCryoFormer.from_state(model.state, model.config)
    assert torch.equal(again.embed(new.particles, SilentProgress()).mean, found)


def test_an_encoder_that_does_not_fit_the_maps_is_refused(with_maps) -> None:
    scene, (_, model) = with_maps
    with pytest.raises(ConfigError, match="needs principal maps"):
        CryoFormer(2, CryoFormerConfig(encoder="maps"))
    multiplied = scene.particles.select(torch.arange(20))
    object.__setattr__(multiplied, "ctf_premultiplied", True)
    with pytest.raises(InputError, match=r"--cryoformer\.encoder maps does not take"):
        model.embed(multiplied, SilentProgress())


def test_a_model_read_back_embeds_as_the_one_that_was_trained(learned) -> None:
    scene, (result, model) = learned
    again = TrainedCryoFormer.from_state(model.state, model.config)
    found = again.embed(scene.particles, SilentProgress())
    torch.testing.assert_close(found.mean, result.latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std, result.latent_std, atol=1e-5, rtol=0)
    assert (again.box, again.pixel_size_A) == (BOX, PIXEL_SIZE_A)
