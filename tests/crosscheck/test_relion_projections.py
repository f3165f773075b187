"""Projections with CTF and shifts against ``relion_project``, and against projections that RELION made elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.crosscheck.phantom import phantom_map
from tests.crosscheck.relion import correlations, project, random_poses, read_images, varied_optics
from vitreous.data import Optics, Poses
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.rotations import rotation_from_euler
from vitreous.io.star import read_star
from vitreous.physics.image_model import render
from vitreous.physics.shifts import half_plane_phases
from vitreous.physics.slices import FourierVolume

pytestmark = pytest.mark.crosscheck


@pytest.mark.parametrize("n_groups", [1, 3])
def test_200_projections_agree(tmp_path: Path, n_groups: int) -> None:
    """Not only in shape: the scale is RELION's too, and what differs is its interpolation at the edge of the disc."""
    volume = phantom_map()
    poses, optics = random_poses(200, 2 * volume.voxel_size_A), varied_optics(200, n_groups=n_groups)
    theirs = project(tmp_path, volume, poses, optics)
    ours = render(FourierVolume.from_map(volume.values), as_float(poses), optics, volume.voxel_size_A)
    assert float(correlations(theirs, ours).min()) > 0.9999
    assert float((theirs - ours).norm() / theirs.norm()) < 2e-3


def as_float(poses: Poses) -> Poses:
    return Poses(poses.rotations.float(), poses.shifts_A.float())


def reference(folder: Path, name: str) -> tuple[torch.Tensor, Poses]:
    """Images and poses of a reference stack at 1 Å per pixel."""
    columns = read_star(folder / f"rln_proj_{name}.star")["particles"].columns
    suffix = "" if "rlnOriginX" in columns else "Angst"
    labels = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", f"rlnOriginX{suffix}", f"rlnOriginY{suffix}")
    values = torch.tensor(np.stack([np.asarray(columns[label], dtype=np.float32) for label in labels], 1))
    return read_images(folder / f"rln_proj_{name}.mrcs"), Poses(rotation_from_euler(values[:, :3]), -values[:, 3:])


def shifted(images: torch.Tensor, shifts_px: torch.Tensor) -> torch.Tensor:
    box = images.shape[-1]
    return irfft2_centred(rfft2_centred(images) * half_plane_phases(shifts_px, box), box)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # mrcfile on headers without a map id
@pytest.mark.parametrize("box", [64, 65])
def test_reference_shifts_have_our_sign(shared_data: Path, box: int) -> None:
    folder = shared_data / "particles" / "relion_project_reference"
    centred, _ = reference(folder, f"{box}_centered")
    moved, poses = reference(folder, f"{box}_shifted")
    assert float(correlations(shifted(centred, poses.shifts_A), moved).min()) > 0.9999
    assert float(correlations(shifted(centred, -poses.shifts_A), moved).max()) < 0.5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["65", "65_centered", "65_shifted"])
def test_reference_projections_of_an_odd_box_agree(shared_data: Path, name: str) -> None:
    """RELION puts the particle of an odd box one pixel beyond the centre along both axes."""
    map_path = shared_data / "maps" / "70S_clean_65.mrc.gz"
    theirs, poses = reference(shared_data / "particles" / "relion_project_reference", name)
    moved = Poses(poses.rotations, poses.shifts_A + 1.0)
    ours = render(FourierVolume.from_map(read_images(map_path)), moved, Optics.without_ctf(len(poses)), 1.0)
    assert float(correlations(theirs, ours).min()) > 0.999


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["64_centered", "64_shifted"])
def test_reference_projections_of_an_even_box_agree(shared_data: Path, name: str) -> None:
    """The 64-voxel map itself is not at hand; the 65-voxel one without its last planes is nearly the same."""
    map_path = shared_data / "maps" / "70S_clean_65.mrc.gz"
    theirs, poses = reference(shared_data / "particles" / "relion_project_reference", name)
    volume = FourierVolume.from_map(read_images(map_path)[:64, :64, :64].contiguous())
    ours = render(volume, poses, Optics.without_ctf(len(poses)), 1.0)
    assert float(correlations(theirs, ours).min()) > 0.99
