"""Rough poses are as far from the truth as they are said to be, in no direction more than in others."""

import math

import pytest
import torch
from benchmarks.conditions import Make
from benchmarks.rough_poses import errors, roughened
from benchmarks.stacks import Images
from benchmarks.tables import section

from tests.benchmarks.test_tables import record
from vitreous.data import Poses
from vitreous.geometry.rotations import random_rotations, rotation_angle_deg, rotation_from_vector
from vitreous.io import open_particles, write_relion_star


def rough(poses: Poses, seed: int) -> Poses:
    return roughened(poses, (45.0, 90.0), torch.Generator().manual_seed(seed))


def test_poses_are_turned_by_45_to_90_degrees_about_any_axis(generator) -> None:
    poses = Poses(random_rotations(4000, generator).double(), torch.randn(4000, 2, generator=generator))
    found = rough(poses, 1)
    angles = rotation_angle_deg(found.rotations, poses.rotations)
    assert 45 <= float(angles.min()) < 46
    assert 89 < float(angles.max()) <= 90 + 1e-9
    assert abs(float(angles.median()) - 67.5) < 1.5
    assert torch.equal(found.shifts_A, poses.shifts_A)
    # E[cos] of an angle uniform in [45°, 90°] is 0.373; the mean turn about random axes is (1 + 2·0.373)/3 times 1
    mean = (found.rotations @ poses.rotations.mT).mean(0)
    torch.testing.assert_close(mean, 0.582 * torch.eye(3, dtype=torch.float64), atol=0.03, rtol=0)


def test_the_seed_decides(generator) -> None:
    poses = Poses(random_rotations(20, generator), torch.zeros(20, 2))
    assert torch.equal(rough(poses, 1).rotations, rough(poses, 1).rotations)
    assert not torch.equal(rough(poses, 1).rotations, rough(poses, 2).rotations)


def test_errors_of_a_turned_frame_are_nothing_once_it_is_aligned(make: Make) -> None:
    truth = make(Images("phantom", n=60, box=16, snr=1.0, seed=1)).folder / "truth.star"
    particles = open_particles(truth)
    frame = rotation_from_vector(torch.tensor([[0.0, 0.3, 0.0]]))
    turned = Poses(particles.poses.rotations @ frame, particles.poses.shifts_A)
    write_relion_star(truth.with_name("turned.star"), particles, poses=turned)
    found = errors(truth.with_name("turned.star"), truth)
    assert found["median_deg"] < 0.01
    assert found["within_10_deg"] == 1.0
    assert found["unaligned_median_deg"] == pytest.approx(math.degrees(0.3), abs=0.01)


def test_a_table_has_a_row_for_every_run_that_ended() -> None:
    known = {"n": 2000, "snr": 0.1, "box": 24, "low_deg": 45.0, "high_deg": 90.0, "threads": 2, "seed": 1}
    quality = {
        "start_median_deg": 67.4,
        "unaligned_median_deg": 3.2,
        "median_deg": 2.345,
        "within_10_deg": 0.9,
        "cpu_seconds": 120.4,
    }
    runs = [
        record("rough-poses", 100.0, quality, **known, method="refine", options="", verdict="done"),
        record("rough-poses", 0.0, {}, **known, method="abinitio", options="", verdict="not run"),
    ]
    text = section("rough-poses", runs)
    assert "| refine | 2,000 | 0.1 | 24 | 1 | done | 67.4 | 3.2 | 2.35 | 0.9 | – | 120 |" in text
    assert "by 45° to 90°," in text
    assert "Planned and not run: 1." in text
