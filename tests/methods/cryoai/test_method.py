"""The whole method: rounds that end by themselves, poses of all particles, the frame of the map, descent on poses."""

from dataclasses import replace

import pytest
import torch

from tests.methods.moving_blobs import PIXEL_SIZE_A, blob_map, moving_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.errors import InputError
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.methods.cryoai import method
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.encoder import PoseGuesses
from vitreous.methods.cryoai.images import ImageReader
from vitreous.methods.cryoai.inference import polished, poses_of
from vitreous.methods.cryoai.method import SHARED_NETWORK, CryoAI
from vitreous.methods.cryoai.training import Training
from vitreous.physics.slices import FourierVolume
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

SMALL = CryoAIConfig(
    volume="voxels", channels=2, batch=16, steps=12, round_steps=4, window=1.0, patience=1, march_from=None
)


class InMemory:
    """A state store and the trainings that it saw."""

    def __init__(self) -> None:
        self.state, self.asked = None, []

    def save(self, tensors, values) -> None:
        self.state = {name: value.clone() for name, value in tensors.items()}, values

    def load(self):
        return self.state

    def train(self, task: Training, steps: int, minutes: float | None):
        self.asked.append((steps, minutes))
        return fit(task, TrainConfig(steps, minutes, gradient_clip=None), None, Callbacks(store=self)).parameters


def static_blobs(n: int = 120):
    return moving_blobs(n, noise=0.2, arc=1e-6)


def test_training_goes_on_round_by_round_and_poses_of_all_come_out() -> None:
    memory = InMemory()
    found = CryoAI(replace(SMALL, tolerance=0.0, patience=3)).propose(
        static_blobs().particles, SilentProgress(), memory.train
    )
    assert memory.asked == [(4, None), (8, None), (12, None)]
    assert len(found.poses) == 120
    assert (found.volume.box, found.volume.voxel_size_A) == (16, PIXEL_SIZE_A)
    assert found.metrics["network_steps"] == 12
    assert 0 < found.metrics["network_explained"] < 1
    assert any("still learning" in warning for warning in found.warnings)


def test_training_ends_where_the_map_explains_no_more() -> None:
    memory = InMemory()
    config = replace(SMALL, steps=400, learning_rate=1e-9, voxel_learning_rate=1e-9)
    found = CryoAI(config).propose(static_blobs().particles, SilentProgress(), memory.train)
    assert found.metrics["network_steps"] < 40
    assert not any("still learning" in warning for warning in found.warnings)


def test_training_ends_when_its_minutes_are_over(monkeypatch) -> None:
    ticks = iter(range(0, 10_000, 40))
    monkeypatch.setattr(method.time, "monotonic", lambda: next(ticks))
    asked = []

    def train(task: Training, steps: int, minutes: float | None):
        asked.append((steps, minutes))
        return {**task.module().state_dict(), "steps_done": torch.tensor(steps)}

    CryoAI(replace(SMALL, steps=400, minutes=2.0, patience=100)).propose(
        static_blobs().particles, SilentProgress(), train
    )
    assert [steps for steps, _ in asked] == [4, 8]
    assert asked[0][1] == pytest.approx(2 - 40 / 60)


def test_training_that_stopped_before_its_round_was_full_is_over() -> None:
    asked = []

    def train(task: Training, steps: int, minutes: float | None):
        asked.append(steps)
        return {**task.module().state_dict(), "steps_done": torch.tensor(min(steps, 6))}

    found = CryoAI(replace(SMALL, steps=400, patience=100)).propose(static_blobs().particles, SilentProgress(), train)
    assert asked == [4, 8]
    assert found.metrics["network_steps"] == 6
    assert any("still learning" in warning for warning in found.warnings)


def test_alone_it_says_that_nothing_judged_the_result() -> None:
    result = CryoAI(SMALL).run(static_blobs().particles, SilentProgress(), InMemory().train)
    assert result.verdict == "ambiguous"
    assert SHARED_NETWORK in result.warnings
    assert result.half_maps is not None
    assert len(result.poses) == 120


def test_few_particles_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        CryoAI(SMALL).propose(moving_blobs(40).particles, SilentProgress(), InMemory().train)


def network_that_knows_the_map(**changes: object):
    """Voxels of the true map; the encoder knows nothing."""
    scene = static_blobs()
    config = replace(SMALL, loss="l2", **changes)
    reader = ImageReader(scene.particles, config)
    network = Training(reader, config).module()
    grid = FourierVolume.from_map(blob_map(0.0, 16).values * 3 / reader.scale, 1).grid
    network.volume.voxels.data = torch.view_as_real(grid) / 16 / network.volume.unit
    return scene, reader, network.requires_grad_(False)


def test_descent_brings_poses_back_that_are_slightly_off(generator) -> None:
    scene, reader, network = network_that_knows_the_map()
    truth, n = scene.particles.poses, 60
    views = reader.views(torch.arange(n))
    off = rotation_from_vector(0.12 * torch.randn(n, 3, generator=generator)) @ truth.rotations[:n]
    shifts = truth.shifts_A[:n] / (16 * PIXEL_SIZE_A)
    moved = shifts + 0.03 * torch.randn(n, 2, generator=generator)
    batch = {"values": views.values, "ctf": views.ctf}
    found = polished(network, PoseGuesses(off[:, None], moved[:, None]), batch, 40)
    before, after = (rotation_angle_deg(r, truth.rotations[:n]).median() for r in (off, found.rotations[:, 0]))
    assert float(after) < 0.6 * float(before)
    assert float((found.shifts[:, 0] - shifts).norm(dim=1).median()) < 0.3 * float(
        (moved - shifts).norm(dim=1).median()
    )


def test_the_descent_is_asked_for_by_its_steps() -> None:
    def rotations(steps: int) -> torch.Tensor:
        torch.manual_seed(0)
        _, reader, network = network_that_knows_the_map(polish_steps=steps)
        return poses_of(network, reader, SilentProgress()).rotations

    assert not torch.equal(rotations(0), rotations(5))
