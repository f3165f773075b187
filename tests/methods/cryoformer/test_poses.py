"""Poses that are refined with the density, or against one that is known."""

import pytest
import torch
from torch import Tensor

from tests.methods.cryoformer.test_fields import DIMS, Blobs, blob_coefficients
from tests.methods.moving_blobs import moving_blobs
from vitreous.compute.processes import Rank
from vitreous.compute.progress import SilentProgress
from vitreous.errors import ConfigError
from vitreous.geometry.rotations import random_rotations, rotation_angle_deg, rotation_from_vector
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.method import CryoFormer
from vitreous.methods.cryoformer.training import Training
from vitreous.nn.pose_corrections import PoseEncoder, PoseTable
from vitreous.physics.shifts import disc_phases
from vitreous.reconstruct.fourier_images import FourierImages, half_disc, mean_squared_residual
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit

BOX = 12
SMALL = {"queries": 4, "channels": 8, "levels": 2, "log2_entries": 10, "base": 4, "encoder_layers": 1}
KINDS = ["descent", "encoder"]


def task(**changes: object) -> Training:
    config = CryoFormerConfig(**{**SMALL, "batch": 8, "epochs": 2, "first_box": 8, "march": 0.5, **changes})
    return Training(FourierImages(moving_blobs(27, BOX).particles, config.window), 2, config)


@pytest.mark.parametrize(("kind", "rate"), [("descent", 1e-2), ("encoder", 2e-3)])
def test_a_known_density_takes_disturbed_poses_back(kind: str, rate: float) -> None:
    generator, n = torch.Generator().manual_seed(3), 48
    true, disc = random_rotations(n, generator).float(), half_disc(BOX)
    shifts_px = 0.4 * torch.randn(n, 2, generator=generator)
    values = blob_coefficients(true, BOX, BOX) * disc_phases(shifts_px, disc)
    axes = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1)
    given = rotation_from_vector(0.2 * axes) @ true
    known = Blobs(BOX, DIMS, CryoFormerConfig(radius=1.0, **SMALL))
    torch.manual_seed(0)
    made = PoseTable(n) if kind == "descent" else PoseEncoder(len(disc.kx), width=64, layers=1)
    batch = {"values": values, "ctf": torch.ones(values.shape), "rotations": given, "rows": torch.arange(n)}
    optimizer = torch.optim.Adam(made.parameters(), rate)
    for _ in range(120):
        optimizer.zero_grad()
        moved, rotations = made.moved(batch, disc, moves=True)
        mean_squared_residual(known.coefficients(rotations, torch.zeros(n, DIMS), BOX), moved).backward()
        optimizer.step()
    rotations, shifts = made(batch)
    assert float(rotation_angle_deg(given, true).median()) == pytest.approx(11.46, abs=0.01)
    assert float(rotation_angle_deg(rotations.detach(), true).median()) < 3
    assert float((shifts.detach() * BOX - shifts_px).norm(dim=1).median()) < 0.15


@pytest.mark.parametrize("domain", ["real", "fourier"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_reaches_poses_from_their_share_of_the_training_on(kind: str, domain: str) -> None:
    made = task(poses=kind, domain=domain, pose_wait=0.5)
    module = made.module()

    def reached(step: int) -> list[float]:
        module.zero_grad()
        batch = next(made.batches(step, Rank()))
        made.training_step(module, batch)["loss"].backward()
        return [float(v.grad.abs().sum()) for v in module.corrections.parameters() if v.grad is not None]

    last = 2 * made.steps_per_epoch - 1
    assert sum(reached(0)) == 0.0
    assert sum(reached(last)) > 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_poses_have_a_rate_of_their_own(kind: str) -> None:
    made = task(poses=kind, pose_learning_rate=0.123)
    module = made.module()
    groups = made.optimizer(module).param_groups
    own = [group for group in groups if group["lr"] == 0.123]
    assert [id(v) for v in own[0]["params"]] == [id(v) for v in module.corrections.parameters()]
    counts = [len(group["params"]) for group in groups]
    assert (len(own), sum(counts)) == (1, len(list(module.parameters())))


def learned(**changes: object):
    config = CryoFormerConfig(**{**SMALL, "batch": 8, "epochs": 2, "first_box": 8, "march": 0.5, **changes})

    def train(made: Training) -> dict[str, Tensor]:
        return fit(made, TrainConfig(steps=2 * made.steps_per_epoch, gradient_clip=None)).parameters

    particles = moving_blobs(27, BOX).particles
    return particles, *CryoFormer(2, config).run(particles, SilentProgress(), train)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_returns_refined_poses_and_embeds_at_them(kind: str) -> None:
    particles, result, model = learned(poses=kind, pose_wait=0.0, pose_learning_rate=1e-2)
    moved = rotation_angle_deg(result.poses.rotations, particles.poses.rotations)
    assert float(moved.max()) > 0.5
    assert float((result.poses.shifts_A - particles.poses.shifts_A).abs().max()) > 0.01
    again = model.embed(particles.with_poses(result.poses), SilentProgress())
    torch.testing.assert_close(again.mean, result.latents, atol=1e-5, rtol=0)
    assert not any("corrections" in name or name.startswith("network.") for name in model.state)


def test_poses_that_never_move_come_back_and_given_ones_are_not_written() -> None:
    particles, result, _ = learned(poses="encoder", pose_wait=0.99)
    torch.testing.assert_close(result.poses.rotations, particles.poses.rotations, atol=1e-6, rtol=0)
    assert torch.equal(result.poses.shifts_A, particles.poses.shifts_A)
    assert learned()[1].poses is None


@pytest.mark.parametrize(
    ("changes", "flag"), [({"pose_wait": 1.0}, "pose-wait"), ({"pose_learning_rate": 0.0}, "pose-learning-rate")]
)
def test_settings_that_cannot_be_are_refused_by_their_flag(changes, flag: str) -> None:
    with pytest.raises(ConfigError, match=rf"--cryoformer\.{flag} cannot be used"):
        CryoFormerConfig(**changes)
