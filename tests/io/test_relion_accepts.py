"""RELION's own programs read what we write."""

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from tests.io.samples import images, particles, write_cs_file, write_images, write_star
from tests.io.test_relion import write_old_star

from vitreous.data import Poses
from vitreous.geometry.rotations import random_rotations
from vitreous.io import open_particles, write_relion_star

pytestmark = pytest.mark.crosscheck


def _relion(program: str, *arguments: str, folder: Path) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stderr
    return done.stdout


def _reconstruct(star: str, folder: Path) -> np.ndarray:
    _relion("relion_reconstruct", "--i", star, "--o", f"{star}.mrc", "--ctf", "--maxres", "8", folder=folder)
    with mrcfile.open(folder / f"{star}.mrc") as mrc:
        return np.array(mrc.data)


@pytest.fixture
def star(tmp_path: Path) -> Path:
    write_images(tmp_path / "particles.mrcs", images(24, 32))
    generator = torch.Generator().manual_seed(1)
    table = particles(24)
    path = write_star(tmp_path / "p.star", table, None)
    path.write_text(path.read_text(encoding="utf-8").replace(" 16 2\n", " 32 2\n"))
    opened = open_particles(path, contrast="bright")
    poses = Poses(random_rotations(24, generator), 2 * torch.randn(24, 2, generator=generator))
    write_relion_star(path, opened, poses=poses)
    return path


def test_star_handler_counts_every_particle(star: Path) -> None:
    opened = open_particles(star, contrast="bright")
    write_relion_star(star.parent / "ours.star", opened, extra_columns={"vitreousEffectivePoses": np.arange(24.0)})
    _relion("relion_star_handler", "--i", "ours.star", "--o", "out.star", folder=star.parent)
    out = open_particles(star.parent / "out.star", contrast="bright")
    assert out.ids.tolist() == open_particles(star, contrast="bright").ids.tolist()


def test_our_star_gives_the_same_map_as_the_one_it_came_from(star: Path) -> None:
    original = _reconstruct("p.star", star.parent)
    (star.parent / "run").mkdir()
    write_relion_star(star.parent / "run" / "ours.star", open_particles(star, contrast="bright"))
    ours = _reconstruct("run/ours.star", star.parent)
    np.testing.assert_allclose(ours, original, atol=1e-4 * np.abs(original).max())


def test_a_star_made_from_a_cs_is_accepted(tmp_path: Path) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs"))
    write_relion_star(tmp_path / "ours.star", opened)
    assert np.isfinite(_reconstruct("ours.star", tmp_path)).all()


def test_a_star_made_from_relion_30_is_accepted(tmp_path: Path) -> None:
    old = write_old_star(tmp_path)
    write_relion_star(tmp_path / "ours.star", open_particles(old, contrast="bright"))
    original, ours = (_reconstruct(name, tmp_path) for name in ("old.star", "ours.star"))
    np.testing.assert_allclose(ours, original, atol=1e-3 * np.abs(original).max())
