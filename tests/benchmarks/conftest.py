"""Stacks of known truth, made by vitreous itself."""

from pathlib import Path

import pytest
from benchmarks.conditions import Make
from benchmarks.stacks import Images, Stack

from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.motions import phantom_hinge
from vitreous.simulate.stack import plan_simulation, simulate_stack


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Simulate the phantom into the folder ``made``, whatever the target."""

    def simulated(images: Images) -> Stack:
        folder = tmp_path / "made"
        folder.mkdir()
        config = SimulationConfig(n=images.n, box=images.box, snr=images.snr, seed=images.seed)
        simulate_stack(plan_simulation(phantom_hinge((0.0,)).states(), config), folder)
        return Stack(folder, folder / "state_01.mrc", "simulate")

    return simulated
