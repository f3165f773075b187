"""What real stacks have and simulated ones lack, put into stacks of known truth."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.stacks import Images, Stack
from vitreous.data import Particles
from vitreous.io import open_particles
from vitreous.io.stack_writer import write_stack
from vitreous.io.star import read_star
from vitreous.io.star_text import write_star_blocks
from vitreous.physics.noise import coloured_noise, white_noise

WHITE_SHARE = 0.5
"""Share of white noise in coloured noise, as variance; the rest falls with frequency."""

FALLING_FROM_A = 40.0
"""Length of the noise that falls: its power is proportional to 1 / (1 + (s · 40 Å)²)."""

CONCENTRATION = 3.0
"""Of preferred views about the map's z axis (von Mises-Fisher's κ): e⁶ times as many from above as from below."""

DRAWN_PER_KEPT = 7
"""Uniform views drawn for every preferred one: 6.02 are needed on average."""

JUNK_SHARE = 0.2
DEFOCUS_ERROR = 0.03
CTF_COLUMNS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")

Make = Callable[[Images], Stack]
Columns = dict[str, NDArray[Any]]


def prepare_stack(images: Images, make: Make, out: Path) -> Stack:
    """Make a stack and put its condition into it; what comes of it lies in ``out``."""
    return CONDITIONS[images.condition](images, make, out)


def plain(images: Images, make: Make, out: Path) -> Stack:
    """White noise, uniform views, exact CTF."""
    del out
    return make(images)


def pure_noise(images: Images, make: Make, out: Path) -> Stack:
    """White noise only; poses and CTF are those of particles that are not there."""
    made = make(replace(images, snr=1.0))
    batches = (white_noise(len(rows), images.box, g) for rows, _, g in _batches(made, images.seed))
    return _with_images(made, out, batches)


def coloured(images: Images, make: Make, out: Path) -> Stack:
    """Noise of which half the variance is white and half falls with frequency."""
    made = make(replace(images, snr=images.snr / WHITE_SHARE))
    power = falling_power(images.box, _open(made).pixel_size_A) * (1 - WHITE_SHARE) / WHITE_SHARE
    batches = (
        pixels + coloured_noise(len(rows), images.box, power, g) for rows, pixels, g in _batches(made, images.seed)
    )
    return _with_images(made, out, batches)


def falling_power(box: int, pixel_size_A: float) -> Tensor:
    """Return power per shell, ``∝ 1 / (1 + (s · 40 Å)²)``, of noise of variance 1."""
    k = torch.fft.fftfreq(box, 1 / box)
    radius = (torch.hypot(k[:, None], k) + 0.5).long()
    power = 1 / (1 + (torch.arange(int(radius.max()) + 1) / (box * pixel_size_A) * FALLING_FROM_A) ** 2)
    return power / power[radius].mean()


def preferred(images: Images, make: Make, out: Path) -> Stack:
    """Views that crowd about one axis, picked from uniform ones."""
    made = make(replace(images, n=DRAWN_PER_KEPT * images.n))
    poses = open_particles(made.folder / "truth.star", contrast="bright").poses
    if poses is None:
        raise ValueError(f"{made.folder / 'truth.star'} has no poses: the stack maker must write them")
    along = poses.rotations[:, 2, 2]  # of the beam, in the particle's frame, with its z axis
    drawn = torch.rand(len(along), generator=_generator(images.seed))
    rows = torch.nonzero(drawn < torch.exp(CONCENTRATION * (along - 1)))[: images.n, 0]
    if len(rows) < images.n:
        raise ValueError(f"{len(rows)} of {len(along)} views are preferred ones, {images.n} are needed: take more")
    return _with_tables(made, out, lambda columns: {name: column[rows.numpy()] for name, column in columns.items()})


def junk(images: Images, make: Make, out: Path) -> Stack:
    """A fifth of the particles are none: one half is empty, in the other the pick lies between two particles."""
    made = make(images)
    is_junk = torch.rand(images.n, generator=_generator(images.seed)) < JUNK_SHARE
    is_empty = torch.rand(images.n, generator=_generator(images.seed + 1)) < 0.5

    def spoilt() -> Iterator[Tensor]:
        for rows, pixels, g in _batches(made, images.seed):
            one, other = (torch.roll(pixels, (by, step * images.box // 4), (0, 2)) for by, step in ((1, 1), (2, -1)))
            fakes = torch.where(
                is_empty[rows, None, None], white_noise(len(rows), images.box, g), (one + other) / 2**0.5
            )
            yield torch.where(is_junk[rows, None, None], fakes, pixels)

    spoilt_stack = _with_images(made, out, spoilt())
    kept = torch.nonzero(~is_junk)[:, 0].numpy()
    _edit(made.folder / "truth.star", out / "truth.star", lambda columns: {k: v[kept] for k, v in columns.items()})
    return spoilt_stack


def wrong_defocus(images: Images, make: Make, out: Path) -> Stack:
    """Every defocus is stated 3 % too high or too low."""
    made = make(images)
    sign = np.sign(torch.rand(images.n, generator=_generator(images.seed)).numpy() - 0.5)

    def stated(columns: Columns) -> Columns:
        return columns | {name: columns[name] * (1 + DEFOCUS_ERROR * sign) for name in CTF_COLUMNS[:2]}

    return _with_tables(made, out, stated)


def unknown_ctf(images: Images, make: Make, out: Path) -> Stack:
    """The particles' table says nothing of the CTF that the images have."""
    made = _with_tables(make(images), out, lambda columns: columns)

    def without(columns: Columns) -> Columns:
        return {name: column for name, column in columns.items() if name not in CTF_COLUMNS}

    _edit(out / "particles.star", out / "particles.star", without)
    return replace(made, reading=("--ctf", "none"))


CONDITIONS: dict[str, Callable[[Images, Make, Path], Stack]] = {
    "plain": plain,
    "coloured noise": coloured,
    "preferred views": preferred,
    "20 % junk": junk,
    "defocus 3 % off": wrong_defocus,
    "CTF unknown": unknown_ctf,
    "pure noise": pure_noise,
}


def _open(made: Stack) -> Particles:
    return open_particles(made.folder / "particles.star", contrast="bright")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batches(made: Stack, seed: int) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
    """Yield rows, their images with background σ 1, and a source of noise of their own."""
    particles = _open(made)
    for number, rows in enumerate(torch.split(torch.arange(len(particles)), 512)):
        yield rows, particles.images(rows), _generator(1_000_003 * seed + number)


def _with_images(made: Stack, out: Path, batches: Iterator[Tensor]) -> Stack:
    """Return the stack with other images under the same names."""
    particles = _open(made)
    out.mkdir(parents=True, exist_ok=True)
    write_stack(out / "particles.mrcs", batches, particles.pixel_size_A, len(particles))
    for name in ("particles.star", "truth.star"):
        _edit(made.folder / name, out / name, lambda columns: columns)
    return replace(made, folder=out)


def _with_tables(made: Stack, out: Path, change: Callable[[Columns], Columns]) -> Stack:
    """Return the stack with both tables changed in the same way."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "particles.mrcs").unlink(missing_ok=True)
    (out / "particles.mrcs").symlink_to((made.folder / "particles.mrcs").absolute())
    for name in ("particles.star", "truth.star"):
        _edit(made.folder / name, out / name, change)
    return replace(made, folder=out)


def _edit(source: Path, target: Path, change: Callable[[Columns], Columns]) -> None:
    blocks = {name: dict(table.columns) for name, table in read_star(source).items()}
    write_star_blocks(target, blocks | {"particles": change(blocks["particles"])})
