"""RELION's programs, run on files that the tests write."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.data import Optics, Particles, Poses, Volume
from vitreous.geometry.rotations import random_rotations
from vitreous.io import write_relion_star
from vitreous.io.maps import write_map
from vitreous.io.stack_writer import write_stack
from vitreous.typing import Images

PIXEL_SIZE_A = 2.8


def require(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install relion)")


def run(folder: Path, program: str, *arguments: str) -> None:
    require(program)
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class KnownImages:
    """A source of images that exist already, in memory."""

    array: Images
    pixel_size_A: float

    @property
    def box(self) -> int:
        return int(self.array.shape[-1])

    def __len__(self) -> int:
        return len(self.array)

    def read(self, indices: torch.Tensor) -> Images:
        return self.array[indices]


def varied_optics(n: int, *, n_groups: int = 1, seed: int = 0) -> Optics:
    """Astigmatic CTFs; with several groups also different voltages, Cs, amplitude contrast and phase plates."""
    rng = np.random.default_rng(seed)
    group = torch.arange(n) % n_groups
    mean, half = rng.uniform(8000, 25000, n), rng.uniform(0, 400, n)

    def of_group(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)[group % len(values)]

    plate = rng.uniform(0, 120, n) if n_groups > 1 else np.zeros(n)
    return Optics(
        voltage_kV=of_group(300, 200, 120),
        cs_mm=of_group(2.7, 2.0, 0.01),
        amplitude_contrast=of_group(0.1, 0.07, 0.2),
        defocus_u_A=torch.from_numpy(mean + half),
        defocus_v_A=torch.from_numpy(mean - half),
        defocus_angle_deg=torch.from_numpy(rng.uniform(0, 180, n)),
        phase_shift_deg=torch.from_numpy(plate),
        bfactor_A2=torch.zeros(n, dtype=torch.float64),
        group=group,
        group_names=tuple(f"group{i + 1}" for i in range(n_groups)),
    )


def random_poses(n: int, shift_A: float, seed: int = 1) -> Poses:
    generator = torch.Generator().manual_seed(seed)
    return Poses(random_rotations(n, generator).double(), shift_A * (2 * torch.rand(n, 2, generator=generator) - 1))


def project(folder: Path, volume: Volume, poses: Poses, optics: Optics) -> Images:
    """Images of a map by ``relion_project --ctf``, in the order of the poses; leaves ``truth.star`` beside them."""
    require("relion_project")
    write_map(folder / "map.mrc", volume)
    n = len(poses)
    write_stack(folder / "empty.mrcs", [torch.zeros(n, volume.box, volume.box)], volume.voxel_size_A, n)
    ids = np.array([f"{i + 1:06d}@empty.mrcs" for i in range(n)])
    source = KnownImages(torch.zeros(n, volume.box, volume.box), volume.voxel_size_A)
    write_relion_star(folder / "angles.star", Particles(source, optics, ids, poses))
    run(
        folder,
        "relion_project",
        *("--i", "map.mrc", "--o", "projected", "--ang", "angles.star", "--ctf"),
        *("--angpix", str(volume.voxel_size_A), "--ignore_particle_name"),
    )
    return read_images(folder / "projected.mrcs")


def read_images(path: Path) -> Images:
    import mrcfile

    with mrcfile.open(path, permissive=True) as handle:
        return torch.from_numpy(np.array(handle.data, dtype=np.float32))


def correlations(first: Images, second: Images) -> torch.Tensor:
    a, b = (images.flatten(1).double() - images.flatten(1).double().mean(1, keepdim=True) for images in (first, second))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
