"""Slices against teamtomo's torch-fourier-slice, which interpolates trilinearly on the same padded transform."""

import pytest
import torch

from tests.crosscheck.phantom import phantom_map
from tests.crosscheck.relion import correlations
from vitreous.data import Optics, Poses
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume

pytestmark = pytest.mark.crosscheck


def test_projections_agree() -> None:
    project_3d_to_2d = pytest.importorskip("torch_fourier_slice").project_3d_to_2d
    volume = phantom_map()
    R = random_rotations(20, torch.Generator().manual_seed(0))
    ours = render(FourierVolume.from_map(volume.values), Poses(R, torch.zeros(20, 2)), Optics.without_ctf(20), 1.0)
    # Their matrices turn coordinates written zyx; the slice is sampled at R·k, ours at Rᵀ·k.
    theirs = project_3d_to_2d(volume.values, R.transpose(-1, -2).contiguous(), zyx_matrices=False)
    assert float(correlations(ours, theirs).min()) > 0.999
