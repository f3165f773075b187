"""Reconstruction with known poses beside ``relion_reconstruct``, on RELION's images and on ours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.crosscheck.phantom import phantom_map
from tests.crosscheck.relion import (
    KnownImages,
    project,
    random_poses,
    require,
    run,
    varied_optics,
)
from vitreous.compute.progress import SilentProgress
from vitreous.data import Optics, Particles, Poses, Volume
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import rotation_from_vector
from vitreous.io import open_particles, write_relion_star
from vitreous.io.maps import read_map
from vitreous.io.stack_writer import write_stack
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.known_poses import ReconstructConfig, reconstruct_halves

pytestmark = pytest.mark.crosscheck

N = 2000
SNR = 1.0


def noisy_stack(folder: Path, clean: torch.Tensor, poses: Poses, optics: Optics, pixel_size_A: float) -> Path:
    """Write the images with noise of σ 1, and their STAR file with poses; return the STAR file."""
    generator = torch.Generator().manual_seed(3)
    images = clean * float((SNR / clean.var()).sqrt()) + torch.randn(clean.shape, generator=generator)
    write_stack(folder / "particles.mrcs", [images], pixel_size_A, len(images))
    ids = np.array([f"{i + 1:06d}@particles.mrcs" for i in range(len(images))])
    write_relion_star(folder / "truth.star", Particles(KnownImages(images, pixel_size_A), optics, ids, poses))
    return folder / "truth.star"


def both_reconstructions(star: Path, pixel_size_A: float) -> tuple[torch.Tensor, torch.Tensor]:
    run(
        star.parent,
        "relion_reconstruct",
        *("--i", star.name, "--o", "relion.mrc", "--ctf", "--angpix", str(pixel_size_A)),
    )
    made = reconstruct_halves(open_particles(star), ReconstructConfig(bfactor_A2=0.0), SilentProgress())
    assert made.volume is not None
    return read_map(star.parent / "relion.mrc").values, made.volume.values


def assert_equally_good(theirs: torch.Tensor, ours: torch.Tensor, truth: Volume) -> None:
    """Compare the FSC to the truth shell by shell up to 0.9 of Nyquist."""
    curves = [fsc(values, truth.values) for values in (theirs, ours)]
    last = int(0.9 * truth.box / 2)
    difference = (curves[1] - curves[0])[1 : last + 1]
    assert float(curves[0][1:last].min()) > 0.5  # both see the particle as far as they are compared
    assert float(difference.abs().max()) < 0.01


@pytest.mark.parametrize("maker", ["relion", "vitreous"])
def test_maps_are_equally_close_to_the_truth(tmp_path: Path, maker: str) -> None:
    require("relion_reconstruct")
    truth = phantom_map()
    poses, optics = random_poses(N, 2 * truth.voxel_size_A), varied_optics(N)
    if maker == "relion":
        clean = project(tmp_path, truth, poses, optics)
    else:
        clean = render(FourierVolume.from_map(truth.values), poses_f32(poses), optics, truth.voxel_size_A)
    star = noisy_stack(tmp_path, clean, poses, optics, truth.voxel_size_A)
    theirs, ours = both_reconstructions(star, truth.voxel_size_A)
    assert_equally_good(theirs, ours, truth)


def test_refined_star_is_taken_by_relion(tmp_path: Path) -> None:
    """Poses that we change are the poses that RELION reconstructs from: wrong ones lose the map, right ones keep it."""
    require("relion_reconstruct")
    require("relion_star_handler")
    truth = phantom_map()
    poses, optics = random_poses(500, 2 * truth.voxel_size_A), varied_optics(500)
    clean = render(FourierVolume.from_map(truth.values), poses_f32(poses), optics, truth.voxel_size_A)
    particles = open_particles(noisy_stack(tmp_path, clean, poses, optics, truth.voxel_size_A))
    generator = torch.Generator().manual_seed(5)
    turned = rotation_from_vector(0.5 * torch.randn(500, 3, generator=generator).double()) @ poses.rotations
    write_relion_star(tmp_path / "wrong.star", particles, poses=Poses(turned, poses.shifts_A))
    write_relion_star(tmp_path / "refined.star", open_particles(tmp_path / "wrong.star"), poses=poses)
    found = {}
    for name in ("wrong", "refined"):
        run(tmp_path, "relion_star_handler", "--i", f"{name}.star", "--o", f"{name}_out.star")
        run(tmp_path, "relion_reconstruct", "--i", f"{name}_out.star", "--o", f"{name}.mrc", "--ctf")
        found[name] = fsc(read_map(tmp_path / f"{name}.mrc").values, truth.values)[4:20].mean()
    assert found["refined"] > 0.9
    assert found["wrong"] < 0.5


def poses_f32(poses: Poses) -> Poses:
    return Poses(poses.rotations.float(), poses.shifts_A.float())
