"""CTF values against RELION's: the image of a point by ``relion_project --ctf`` has the CTF for its transform."""

from pathlib import Path

import pytest
import torch

from tests.crosscheck.relion import project, random_poses, varied_optics
from vitreous.data import Volume
from vitreous.fourier.frequencies import disc
from vitreous.fourier.transform import rfft2_centred
from vitreous.physics.ctf import ctf_half_plane

pytestmark = pytest.mark.crosscheck


@pytest.mark.parametrize(("box", "pixel_size_A"), [(64, 1.3), (64, 4.0), (128, 1.0)])
def test_ctf_values_agree(tmp_path: Path, box: int, pixel_size_A: float) -> None:
    """Astigmatism, phase plates, three voltages, Cs and amplitude contrasts; up to Nyquist."""
    n = 30
    optics = varied_optics(n, n_groups=3)
    point = torch.zeros(box, box, box)
    point[box // 2, box // 2, box // 2] = 1.0
    images = project(tmp_path, Volume(point, pixel_size_A), random_poses(n, 0.0), optics)
    inside = disc(box, box / 2 - 1)
    found = inside.gather(rfft2_centred(images))
    expected = inside.gather(ctf_half_plane(optics, box, pixel_size_A))
    assert float(found.imag.abs().max()) < 1e-5
    assert float((found.real - expected).abs().max()) < 1e-4
