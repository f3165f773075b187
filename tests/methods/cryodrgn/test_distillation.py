"""Self-distillation: its schedule, its gradients, its noise, exact resume, and that it holds for unseen particles."""

import math

import pytest
import torch

from tests.methods.moving_blobs import moving_blobs
from vitreous.compute.processes import Rank
from vitreous.compute.progress import SilentProgress
from vitreous.errors import ConfigError, InputError
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.distillation import DistillingTraining
from vitreous.methods.cryodrgn.method import CryoNoo
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.cryodrgn.training import Training
from vitreous.reconstruct.fourier_images import FourierImages
from vitreous.runs.checkpoint import Checkpointer
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

SMALL = CryoDrgnConfig(encoder_width=32, decoder_width=32, encoder_layers=1, decoder_layers=1, batch=8, epochs=4)
NOO = {"warmup": 1.0, "expander": 16}
STEPS = TrainConfig(steps=8, gradient_clip=None)


def task(network: CryoDrgnConfig = SMALL, *, n: int = 27, noise: float = 1.0, **changes: object) -> DistillingTraining:
    images = FourierImages(moving_blobs(n, noise=noise).particles, network.window)
    return DistillingTraining(Training(images, 2, network), CryoNooConfig(**{**NOO, **changes}))


def decoder_gradient(made: DistillingTraining, step: int) -> torch.Tensor:
    """Gradient of the views' loss alone with respect to the decoder."""
    torch.manual_seed(0)
    module = made.module()
    batch = {**next(made.batches(step, Rank())), "step": step}
    _, of_views, _ = module(batch, moves_poses=False, distils=step >= made.steps_per_epoch)
    of_views.backward()
    found = module.network.autoencoder.decoder.network.last.weight.grad
    return torch.zeros(1) if found is None else found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "simsiam"},
        {"loss": "invariance", "expander": 0},
        {"views": "noised", "factors": (1.0,)},
        {"views": "turned"},
        {"poses": "random", "factors": (2.0,)},
        {"freeze_decoder": True, "level": "shells"},
    ],
)
def test_every_variant_is_resumed_with_the_same_bits(tmp_path, changes) -> None:
    whole = fit(task(**changes), STEPS)
    store = Callbacks(store=Checkpointer(tmp_path / "checkpoint.safetensors", {}))
    fit(task(**changes), TrainConfig(steps=5, gradient_clip=None), None, store)
    resumed = fit(task(**changes), STEPS, None, store)
    assert resumed.first_step == 5
    for name, value in whole.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name


def test_until_the_warm_up_ends_training_is_that_without_views() -> None:
    steps = TrainConfig(steps=3, gradient_clip=None)
    alone, warming = fit(task().base, steps).parameters, fit(task(), steps).parameters
    for name, value in alone.items():
        assert torch.equal(value, warming[f"network.{name}"]), name
    beyond = TrainConfig(steps=4, gradient_clip=None)
    name = "autoencoder.encoder.first.weight"
    assert not torch.equal(fit(task().base, beyond).parameters[name], fit(task(), beyond).parameters[f"network.{name}"])


@pytest.mark.parametrize("poses", ["own", "random"])
def test_the_gradient_stops_at_the_rendered_view_unless_it_is_let_through(poses: str) -> None:
    assert float(decoder_gradient(task(poses=poses), 3).abs().max()) == 0
    assert float(decoder_gradient(task(poses=poses, gradient_through_views=True), 3).abs().max()) > 0


def test_a_frozen_decoder_stays_as_the_warm_up_left_it() -> None:
    warm = fit(task(freeze_decoder=True), TrainConfig(steps=3, gradient_clip=None)).parameters
    frozen, moving = (fit(task(freeze_decoder=freeze), STEPS).parameters for freeze in (True, False))
    name = "network.autoencoder.decoder.network.last.weight"
    assert torch.equal(frozen[name], warm[name])
    assert not torch.equal(moving[name], warm[name])
    encoder = "network.autoencoder.encoder.last.weight"
    assert not torch.equal(frozen[encoder], warm[encoder])


def level_of(made: DistillingTraining) -> float:
    torch.manual_seed(0)
    module = made.module()
    for value in module.network.autoencoder.decoder.network.last.parameters():
        value.data.zero_()  # renders nothing: the residual is the images
    _, _, level = module(next(made.batches(0, Rank())), moves_poses=False, distils=True)
    return level.item() * made.base.images.scale


def test_the_noise_level_is_half_of_what_is_left_of_the_images_or_sigma_of_their_highest_shells() -> None:
    network = CryoDrgnConfig(**{**SMALL.__dict__, "batch": 400})
    images = moving_blobs(400, noise=0.0).particles
    particles = images.with_poses(images.poses)
    noise = 1.7 * torch.randn(400, 16, 16, generator=torch.Generator().manual_seed(1))
    object.__setattr__(particles, "source", type(images.source)(noise, images.pixel_size_A))
    base = Training(FourierImages(particles, network.window), 2, network)
    assert level_of(DistillingTraining(base, CryoNooConfig(level="shells"))) == pytest.approx(1.7, rel=0.02)
    assert level_of(DistillingTraining(base, CryoNooConfig())) == pytest.approx(1.7 / 2, rel=0.02)


@pytest.mark.slow
def test_two_processes_share_a_batch_in_warm_up_and_after() -> None:
    hardware = Hardware(devices=2)
    found = fit(task(), TrainConfig(steps=5, gradient_clip=None), hardware)
    assert found.step == 5


def test_settings_that_cannot_be_are_refused_by_their_flag() -> None:
    with pytest.raises(ConfigError, match=r"--noo\.factors cannot be used"):
        CryoNooConfig(factors=())
    with pytest.raises(ConfigError, match=r"--noo\.shells-from cannot be used"):
        CryoNooConfig(shells_from=1.0)
    with pytest.raises(ConfigError, match=r"--noo\.warmup cannot be used"):
        CryoNoo(2, SMALL, CryoNooConfig(warmup=4.0))
    with pytest.raises(ConfigError, match="--batch cannot be used"):
        CryoNoo(2, CryoDrgnConfig(batch=1), CryoNooConfig())


def test_particles_multiplied_by_their_ctf_are_refused() -> None:
    particles = moving_blobs(9).particles
    object.__setattr__(particles, "ctf_premultiplied", True)
    with pytest.raises(InputError, match="multiplied by their CTF"):
        CryoNoo(2, SMALL, CryoNooConfig(warmup=1.0)).run(particles, SilentProgress(), lambda made: {})
    assert math.isfinite(CryoNooConfig(views="noised").weight)
