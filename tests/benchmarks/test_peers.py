"""What other programs write is read as they mean it."""

import pickle
from pathlib import Path

import torch
from benchmarks.conditions import Make
from benchmarks.peers import _newest, _poses_as_star
from benchmarks.stacks import Images

from vitreous.io import open_particles


def test_poses_of_cryodrgns_abinit_are_in_pixels(make: Make, tmp_path: Path) -> None:
    stack = make(Images("phantom", 30, 1.0, seed=1, box=32))
    truth = open_particles(stack.folder / "truth.star", contrast="bright")
    origins_px = -truth.poses.shifts_A / truth.pixel_size_A
    file = tmp_path / "pose.3.pkl"
    file.write_bytes(pickle.dumps((truth.poses.rotations.double().numpy(), origins_px.double().numpy())))
    found = open_particles(_poses_as_star(file, stack), datadir=stack.folder, contrast="bright").poses
    assert torch.allclose(found.rotations, truth.poses.rotations, atol=1e-5)
    assert torch.allclose(found.shifts_A, truth.poses.shifts_A, atol=1e-4)


def test_the_newest_result_comes_first(tmp_path: Path) -> None:
    for number in (5, 100, 20):
        (tmp_path / f"run_it{number:03d}_data.star").touch()
    assert [number for number, _ in _newest(tmp_path, "run_it*_data.star")] == [100, 20, 5]
