"""The E-step by matrix products and by rings: processor time of cross terms, and how far scores are from exact ones.

    python -m benchmarks.paths                       phantom, box 64, one thread
    python -m benchmarks.paths --radii 8 12 --inplane 24 --rounds 3

A row is one path at one radius and number of in-plane angles, on the chunk of images that the search scores at a time,
at poses of no grid and SNR 1 in their coefficients, with defocus and astigmatism. Times are processor time of the one
thread, the median of the rounds; both paths take turns. Writes ``results/estep-paths.json`` and prints its table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.processes import Finished, memory_MB
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from vitreous.compute.threads import set_threads
from vitreous.fourier.frequencies import Disc, disc
from vitreous.geometry.grids import so3_grid
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.schedule import GRID_NSIDE, shift_grid
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.expectation import (
    AnyReferences,
    References,
    centred_copies,
    cross_terms,
    references_of,
    score,
)
from vitreous.reconstruct.rings import PoseGrid
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import Phantom
from vitreous.typing import Map

NAME = "estep-paths"
PATHS: tuple[EStep, EStep] = ("products", "rings")
FINE_PADDING = 6
"""Padding of the transform whose products stand for exact scores."""

FIELD_A = 205.0
SHELL_OF_SNR = 12.0


@dataclass(frozen=True)
class Chunk:
    """Images that are scored at a time, and slices by which they are."""

    copies: Tensor
    c2: Tensor

    def scored_by(self, references: AnyReferences) -> Tensor:
        return score(self.copies, self.c2, references)

    def crossed_with(self, references: AnyReferences) -> Tensor:
        return cross_terms(self.copies, len(self.c2), references)


def phantom_map(box: int) -> Map:
    """The phantom, so scaled that signal and noise of a coefficient are alike on average inside shell 12."""
    pixel_A = FIELD_A / box
    values = atoms_to_density(Phantom().atoms(), DensityGrid(box, pixel_A, 2.2 * pixel_A)).values.float()
    inside = disc(box, SHELL_OF_SNR)
    slices = FourierVolume.from_map(values).sample(random_rotations(50, _generator()), inside.kx, inside.ky)
    return values * float(slices.abs().square().mean().rsqrt())


def some_images(volume: FourierVolume, pixels: Disc, count: int, images: int) -> tuple[Tensor, Tensor]:
    """``Y·C`` and ``C²`` of images at random poses with white noise."""
    generator = _generator()
    k = (pixels.kx[:count].contiguous(), pixels.ky[:count].contiguous())
    slices = volume.sample(random_rotations(images, generator), *k)
    focus, stretch = torch.rand(2, images, 1, generator=generator)
    astigmatism = 1 + 0.1 * stretch * torch.cos(2 * torch.atan2(k[1], k[0]) + 6 * focus)
    ctf = torch.sin((0.02 + 0.02 * focus) * astigmatism * pixels.radius[:count] ** 2 + 0.1)
    noise = torch.randn(images, count, dtype=torch.complex64, generator=generator)
    return ctf * (ctf * slices + noise), ctf * ctf


def processor_seconds(calls: dict[EStep, Callable[[], object]], rounds: int) -> dict[EStep, float]:
    """Median time of each call; they take turns."""
    seconds: dict[EStep, list[float]] = {path: [] for path in calls}
    for _ in range(rounds + 1):
        for path, call in calls.items():
            started = time.thread_time()
            call()
            seconds[path].append(time.thread_time() - started)
    return {path: statistics.median(times[1:]) for path, times in seconds.items()}


def measure(values: Map, radius: float, inplane: int, rounds: int) -> dict[EStep, dict[str, float]]:
    """Milliseconds and errors of both paths."""
    pixels, generator = disc(values.shape[-1], values.shape[-1] / 2), _generator()
    count = pixels.count(radius)
    shifts = shift_grid(pixels.box, radius, SearchConfig.shift_range_share, generator)
    rotations = (so3_grid(GRID_NSIDE, inplane) @ random_rotations(1, generator)[0]).contiguous()
    grid = PoseGrid(rotations, inplane, shifts)
    fine = FourierVolume.from_map(values, FINE_PADDING)
    slicing = {path: partial(references_of, path, [values], grid, pixels, count) for path in PATHS}
    references = {path: call() for path, call in slicing.items()}
    exact = References.of(fine, rotations, shifts, pixels, count)
    yc, c2 = some_images(fine, pixels, count, exact.images_per_chunk())
    chunk = Chunk(centred_copies(yc, exact.phases), c2)
    truth = chunk.scored_by(exact).clone()
    crossing = processor_seconds({p: partial(chunk.crossed_with, references[p]) for p in PATHS}, rounds)
    norms = processor_seconds({p: partial(references[p].norms, c2) for p in PATHS}, rounds)
    sliced = processor_seconds(dict(slicing), min(rounds, 3))
    return {
        path: {
            "cross_ms": 1e3 * crossing[path],
            "norms_ms": 1e3 * norms[path],
            "slices_ms": 1e3 * sliced[path],
            "speed_over_products": crossing["products"] / crossing[path],
            "score_error": float((chunk.scored_by(references[path]) - truth).std()),
            "score_std": float(truth.std()),
            "shifts": float(len(shifts)),
            "coefficients": float(count),
        }
        for path in PATHS
    }


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--box", type=int, default=64, help="px")
    parser.add_argument("--radii", type=float, nargs="+", default=[8.0, 12.0, 16.0, 24.0])
    parser.add_argument("--inplane", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    set_threads(1)
    results, values = ResultFile(given.results / f"{NAME}.json"), phantom_map(given.box)
    for radius in given.radii:
        for inplane in given.inplane:
            for path, figures in measure(values, radius, inplane, given.rounds).items():
                seconds = figures["cross_ms"] / 1e3
                memory = memory_MB()
                done = Finished(seconds, seconds, memory["RssAnon"], memory["VmHWM"], "")
                results.add(NAME, done, {"radius": radius, "in_plane": inplane, "path": path}, figures)
    print(section(NAME, results.records))


if __name__ == "__main__":
    main()
