"""Particle stacks whose truth is known, and the maps that they show."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from benchmarks.processes import run_measured
from vitreous.io.maps import write_map
from vitreous.simulate.atoms import Atoms
from vitreous.simulate.density import DensityGrid, atoms_to_density

BOX_OVER_EXTENT = 1.6
"""Side of the box over the longest extent of the structure."""

PIXELS_PER_RESOLUTION = 2.2
"""Resolution of a map in voxels: its low-pass filter then ends at Nyquist."""


@dataclass(frozen=True)
class Stack:
    """Particles whose truth is known.

    Attributes
    ----------
    folder
        Holds ``particles.star`` and ``truth.star``; particles that the truth lacks show something else.
    truth_map
        The map that they show; None where only the poses are known.
    origin
        Who made the images.
    reading
        Options with which the particles are to be read.
    """

    folder: Path
    truth_map: Path | None
    origin: str
    reading: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """What a stack shows, and how.

    Attributes
    ----------
    target
        Beginning of the structure file's name.
    n, box, snr, shift, seed
        Number, side in pixels, SNR (0: there are no particles), largest shift in pixels, seed of the stack maker.
    condition
        What is put into the stack: a key of :data:`benchmarks.conditions.CONDITIONS`.
    """

    target: str
    n: int
    snr: float
    seed: int
    condition: str = "plain"
    box: int = 64
    shift: float = 2.0


def make_stack(maker: Path, volume: Path, out: Path, settings: Mapping[str, float]) -> Stack:
    """Have a stack made from a map; ``out`` appears when it is complete.

    A stack maker is a Python script, called as ``MAKER MAP OUT`` with ``settings`` as options, ``--n N --snr SNR
    --shift PX --seed SEED``. It leaves ``particles.star``, ``truth.star`` and their images in OUT.
    """
    unfinished = out.with_name(f"{out.name}.unfinished")
    for folder in (out, unfinished):
        shutil.rmtree(folder, ignore_errors=True)
    words = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    run_measured([sys.executable, maker, volume, unfinished, *words])
    unfinished.rename(out)
    return Stack(out, volume, maker.name)


def find_structure(folder: Path, name: str) -> Path:
    """Return the one structure file of a folder whose name begins so, in capitals or not."""
    found = sorted(path for path in folder.iterdir() if path.name.lower().startswith(name.lower()))
    if len(found) != 1:
        message = (
            f"{folder} holds {len(found)} files that begin with {name}, not one: give another --structures or name"
        )
        raise FileNotFoundError(message)
    return found[0]


def make_map(atoms: Atoms, box: int, out: Path) -> Path:
    """Write the density of a structure in a box of 1.6 times its longest extent; a map that is there is kept."""
    if not out.exists():
        pixel_size_A = round(BOX_OVER_EXTENT * longest_extent_A(atoms) / box, 3)
        grid = DensityGrid(box, pixel_size_A, PIXELS_PER_RESOLUTION * pixel_size_A)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_map(out, atoms_to_density(atoms, grid))
    return out


def longest_extent_A(atoms: Atoms) -> float:
    """Return the largest distance of two atoms."""
    corners = atoms.xyz_A.numpy()
    return float(pdist(corners[ConvexHull(corners).vertices]).max())
