"""Training: batches, exact resume, marching, convergence, and that the best pose alone learns."""

from itertools import islice

import pytest
import torch

from tests.methods.moving_blobs import PIXEL_SIZE_A, blob_map, moving_blobs
from vitreous.compute.epochs import shuffled_batches
from vitreous.compute.processes import Rank
from vitreous.data import Optics
from vitreous.errors import ConfigError
from vitreous.fourier.transform import rfft2_centred
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.encoder import PoseGuesses
from vitreous.methods.cryoai.images import ImageReader
from vitreous.methods.cryoai.losses import squared_residuals
from vitreous.methods.cryoai.method import explained_at
from vitreous.methods.cryoai.training import Training, has_converged, radius_at
from vitreous.physics.image_model import render_transforms
from vitreous.physics.slices import FourierVolume
from vitreous.runs.checkpoint import Checkpointer
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

SMALL = {"width": 16, "channels": 2, "batch": 8, "steps": 40, "round_steps": 2, "window": 1.0, "march_from": None}


def task(n: int = 27, **changes: object) -> Training:
    config = CryoAIConfig(**{**SMALL, **changes})
    return Training(ImageReader(moving_blobs(n).particles, config), config)


def test_an_epoch_holds_no_particle_twice_and_epochs_differ() -> None:
    made = task()
    steps = islice(
        shuffled_batches(len(made.reader), made.config.batch, made.seed, 0, Rank()), 2 * made.steps_per_epoch
    )
    epochs = torch.cat([rows for _, rows in steps]).split(24)
    assert [len(order.unique()) for order in epochs] == [24, 24]
    assert not torch.equal(*epochs)


def test_batches_depend_on_the_step_alone_and_processes_share_them() -> None:
    whole = next(islice(task().batches(0, Rank()), 4, None))
    again = next(task().batches(4, Rank()))
    torch.testing.assert_close(whole["values"], again["values"])
    parts = [next(task().batches(4, Rank(number, 2)))["values"] for number in range(2)]
    torch.testing.assert_close(torch.stack(parts, 1).flatten(0, 1), whole["values"])


@pytest.mark.parametrize("volume", ["fouriernet", "voxels"])
def test_resumed_training_ends_with_the_same_bits(tmp_path, volume: str) -> None:
    changes = {"volume": volume, "loss": "mirrored", "heads": 2, "march_from": 3.0, "march_steps": 5}
    whole = fit(task(**changes), TrainConfig(steps=5))
    store = Callbacks(store=Checkpointer(tmp_path / "checkpoint.safetensors", {}))
    fit(task(**changes), TrainConfig(steps=2), None, store)
    resumed = fit(task(**changes), TrainConfig(steps=5), None, store)
    assert resumed.first_step == 2
    for name, value in whole.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name
    assert float(whole.parameters["explained"][:2].abs().min()) > 0


def test_the_decoder_makes_the_images_that_simulation_makes() -> None:
    """Slice, shift and CTF of blobs, at true poses."""
    scene = moving_blobs(8)
    module = task(8, volume="voxels").module()
    blobs = blob_map(0.0, 16).values
    voxels = torch.view_as_real(FourierVolume.from_map(blobs, 1).grid)
    module.volume.voxels.data = voxels / module.volume.unit
    poses = scene.particles.poses
    ctf = torch.linspace(-1, 1, len(module.kxy)).expand(8, -1)
    whole = render_transforms(FourierVolume.from_map(blobs, 6), poses, Optics.without_ctf(8), PIXEL_SIZE_A)
    expected = ctf * module.disc.gather(whole)

    def error(shifts_A: torch.Tensor) -> float:
        guesses = PoseGuesses(poses.rotations[:, None], shifts_A[:, None] / (PIXEL_SIZE_A * 16))
        found = module.predicted(guesses, ctf, len(module.kxy))[:, 0].detach()
        return float((found - expected).abs().square().sum() / expected.abs().square().sum())

    assert error(poses.shifts_A) < 0.02
    assert error(-poses.shifts_A) > 0.2


def test_images_are_read_in_both_boxes_over_the_same_field() -> None:
    particles = moving_blobs(6).particles
    reader = ImageReader(particles, CryoAIConfig(decoder_box=12, encoder_box=16, window=1.0, whiten=False))
    views = reader.views(torch.arange(6))
    assert views.inputs.shape == (6, 16, 16)
    assert (reader.box, reader.pixel_size_A) == (12, pytest.approx(4.0 * 16 / 12))
    # every coefficient that is kept is the image's own, but for the scale
    full = rfft2_centred(particles.images())
    kx, ky = reader.disc.kx.long(), reader.disc.ky.long()
    ratio = (views.values / full[:, ky, kx])[:, 1:]
    torch.testing.assert_close(ratio, ratio[:1, :1].expand(ratio.shape), rtol=1e-3, atol=1e-5)


def test_whitened_images_have_unit_power_in_every_shell() -> None:
    particles = moving_blobs(40).particles
    plain, white = (ImageReader(particles, CryoAIConfig(whiten=some)) for some in (False, True))
    views, shell = white.views(torch.arange(40)), white.disc.shell
    power = views.values.abs().square().mean(0)
    for number in range(int(shell.max()) + 1):
        assert float(power[shell == number].mean()) == pytest.approx(1, rel=1e-4)
    # images and contrast transfer are divided alike, so the map is the same
    torch.testing.assert_close(white.amplitude, plain.amplitude)
    torch.testing.assert_close(views.ctf * plain.views(torch.arange(40)).values, views.values, rtol=1e-4, atol=1e-4)


def test_voxels_begin_in_units_of_what_images_have_in_their_shell() -> None:
    reader = ImageReader(moving_blobs(40).particles, CryoAIConfig())
    views, amplitude, shell = reader.views(torch.arange(40)), reader.amplitude, reader.disc.shell
    for number in (0, 1, 3):
        values, ctf = views.values[:, shell == number], views.ctf[:, shell == number]
        expected = values.abs().square().mean() / ctf.square().mean().clamp_min(1e-3)
        assert float(amplitude[number] ** 2) == pytest.approx(float(expected), rel=1e-3)
    assert amplitude[0] > 10 * amplitude[-1] > 0


def test_only_the_best_pose_learns() -> None:
    made = task(heads=3, loss="l2")
    module = made.module()
    batch = next(made.batches(0, Rank()))
    residual, _ = module(batch)
    guesses = module.guesses(batch["inputs"])
    all_residuals = squared_residuals(module.predicted(guesses, batch["ctf"], len(module.kxy)), batch["values"])
    torch.testing.assert_close(residual, all_residuals.amin(1))
    residual[0].backward()
    last = module.encoder.rotation_head.weight.grad.unflatten(0, (3, 6)).abs().sum((1, 2))
    assert torch.equal(last > 0, torch.arange(3) == all_residuals[0].argmin())


def test_half_precision_leaves_poses_and_map_alone() -> None:
    made = task(loss="mirrored", heads=2)
    trained = fit(made, TrainConfig(steps=2), Hardware(precision="bf16-mixed"))
    assert int(trained.parameters["steps_done"]) == 2
    module = made.module()
    batch = next(made.batches(0, Rank()))
    plain, _ = module(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rotations = module.guesses(batch["inputs"]).rotations
        mixed, _ = module(batch)
    identity = torch.eye(3).expand(rotations.shape)
    torch.testing.assert_close(rotations @ rotations.mT, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed, plain, rtol=0.02, atol=1e-3)


def test_the_radius_marches_from_its_start_to_the_edge() -> None:
    config = CryoAIConfig(march_from=4.0, march_steps=100)
    assert [radius_at(step, 32, config) for step in (0, 50, 100, 500)] == [4.0, 10.0, 16.0, 16.0]
    assert radius_at(0, 32, CryoAIConfig(march_from=None)) == 16.0
    marching = task(march_from=3.0, march_steps=10).module()
    assert marching.count_at(0) == marching.disc.count(3.0) < marching.count_at(10) == len(marching.kxy)


def test_convergence_is_the_end_of_gains_at_all_frequencies() -> None:
    config = CryoAIConfig(patience=3, round_steps=10, tolerance=0.01, march_from=None)
    rising = torch.tensor([0.1, 0.2, 0.3, 0.31, 0.32, 0.33])
    level = torch.tensor([0.1, 0.2, 0.3, 0.301, 0.299, 0.302])
    assert not has_converged(rising, 32, config)
    assert has_converged(level, 32, config)
    assert not has_converged(level[:5], 32, config)
    assert not has_converged(level[:3], 32, config)
    marching = CryoAIConfig(patience=3, round_steps=10, tolerance=0.01, march_from=4.0, march_steps=40)
    assert not has_converged(level, 32, marching)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"batch": 0}, "batch"),
        ({"window": 1.5}, "window"),
        ({"march_from": 0.0}, "march-from"),
        ({"heads": 0}, "heads"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_flag(changes, flag: str) -> None:
    with pytest.raises(ConfigError, match=f"--cryoai.{flag} cannot be used"):
        CryoAIConfig(**changes)


def test_the_share_at_the_end_counts_the_steps_of_a_round_that_was_broken_off() -> None:
    explained = torch.tensor([0.5, 0.06, 0.0])
    assert explained_at(explained, 10, 10) == pytest.approx(0.5)
    assert explained_at(explained, 11, 10) == pytest.approx(0.6)
    assert explained_at(explained, 0, 10) == 0


def test_competing_poses_are_compared_in_parts(monkeypatch) -> None:
    for kind in ("voxels", "fouriernet"):
        made = task(volume=kind, width=8)
        network, batch = made.module(), next(made.batches(0, Rank()))
        guesses, count = network.guesses(batch["inputs"]), 40
        whole = network.best(guesses, batch, count)
        monkeypatch.setattr(type(network.volume), "points_at_once", 1)
        assert torch.equal(network.best(guesses, batch, count), whole)
