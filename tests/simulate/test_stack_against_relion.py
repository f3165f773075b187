"""RELION projects the ground-truth map with truth.star: it must give our noise-free images."""

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.motions import phantom_hinge
from vitreous.simulate.stack import plan_simulation, simulate_stack


@pytest.mark.crosscheck
def test_relion_projects_the_same_images(tmp_path: Path) -> None:
    program = shutil.which("relion_project")
    if program is None:
        pytest.skip("relion_project is not installed")
    config = SimulationConfig(n=20, box=64, snr=float("inf"), pixel_size=3.6)
    simulate_stack(plan_simulation(phantom_hinge((0.0,)).states(), config), tmp_path)
    words = [
        "--i",
        "state_01.mrc",
        "--o",
        "theirs",
        "--ang",
        "truth.star",
        "--ctf",
        "--angpix",
        "3.6",
        "--ignore_particle_name",
    ]
    subprocess.run([program, *words], cwd=tmp_path, check=True, capture_output=True)
    with mrcfile.open(tmp_path / "particles.mrcs") as ours, mrcfile.open(tmp_path / "theirs.mrcs") as theirs:
        pairs = zip(ours.data.reshape(20, -1), theirs.data.reshape(20, -1))
        assert min(np.corrcoef(a, b)[0, 1] for a, b in pairs) > 0.999
