"""Maps of the cryodrgn package lie in the frame of vitreous, with its sign and hand, as its benchmark takes them."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from benchmarks.cryodrgn_program import CryodrgnProgram, epochs_of, latents_of
from benchmarks.stacks import Images

from tests.benchmarks.conftest import Make, make
from vitreous.evaluate.maps import fsc_area
from vitreous.fourier.shells import fsc
from vitreous.io.maps import read_map

__all__ = ["make"]

pytestmark = pytest.mark.crosscheck

NETWORK = ["--zdim", "1", "--enc-dim", "32", "--dec-dim", "64", "--enc-layers", "1", "--dec-layers", "1"]
TRAINING = ["-n", "4", "-b", "8", "--lr", "1e-3", "--seed", "1"]


def test_maps_agree_as_they_are_and_in_no_other_frame(make: Make, tmp_path: Path) -> None:
    if shutil.which("cryodrgn") is None:
        pytest.skip("cryodrgn is not installed (PyPI: pip install cryodrgn)")
    stack = make(Images("phantom", 400, 1.0, seed=1, box=24, shift=2.0))
    assert stack.truth_map is not None
    truth, program = read_map(stack.truth_map), CryodrgnProgram("cryodrgn", threads=1)
    program.train_vae(stack.folder / "truth.star", tmp_path / "run", [*NETWORK, *TRAINING])
    z = latents_of(tmp_path / "run")
    assert z.shape == (400, 1)
    found = program.eval_vol(tmp_path / "run", truth.voxel_size_A, np.repeat(z[:2].mean(0, keepdims=True), 2, 0))
    assert len(found) == 2
    values = found[0].values
    area = fsc_area(fsc(values, truth.values))
    assert area > 0.25
    for axes in [axes for count in (1, 2, 3) for axes in combinations(range(3), count)]:
        assert fsc_area(fsc(values.flip(axes), truth.values)) < area - 0.1
        assert fsc_area(fsc(values.roll((1,) * len(axes), axes), truth.values)) < area - 0.03
    residuals = [epoch.residual for epoch in epochs_of((tmp_path / "run" / "run.log").read_text())]
    assert len(residuals) == 4
    assert residuals[-1] < residuals[0]
