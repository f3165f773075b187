"""Hot loops alone: time per sample of the native kernels, and the E-step's matrix product beside a plain large one.

    python -m benchmarks.kernels                     box 128, one thread: half a minute
    python -m benchmarks.kernels --box 64 --poses 50 --rounds 2

Every round runs every kernel once; a row holds the median and the best of the rounds. Writes ``results/kernels.json``
and prints its table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.processes import Finished, memory_MB
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from vitreous.compute.threads import set_threads
from vitreous.geometry.grids import so3_grid
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.schedule import GRID_INPLANE, GRID_NSIDE, shift_grid
from vitreous.physics.slices import FourierVolume, SliceAccumulator
from vitreous.reconstruct.coefficients import Coefficients
from vitreous.reconstruct.expectation import References, centred_copies, cross_terms
from vitreous.reconstruct.gauss_newton import refine_poses
from vitreous.reconstruct.target import Target

GAUSS_NEWTON_STEPS = 3
GEMM_SIDE = 2048


@dataclass(frozen=True)
class Kernel:
    """A call to time.

    Attributes
    ----------
    name, unit
        What it is; what its figure counts: ``"ns_per_sample"`` or ``"gflop_per_s"``.
    work
        Samples or floating-point operations of one call.
    call
        The call.
    """

    name: str
    unit: str
    work: float
    call: Callable[[], object]

    def figure(self, seconds: float) -> float:
        return 1e9 * seconds / self.work if self.unit == "ns_per_sample" else 1e-9 * self.work / seconds


def sampling_kernels(box: int, poses: int, threads: int) -> list[Kernel]:
    """Slices, their adjoint, and Gauss-Newton steps on all coefficients of images of the box."""
    generator = torch.Generator().manual_seed(0)
    volume = FourierVolume.from_map(torch.randn(box, box, box, generator=generator))
    rotations = random_rotations(poses, generator)
    disc = volume.disc()
    k = (disc.kx, disc.ky)
    samples = poses * len(disc.kx)
    slices = volume.sample(rotations, *k)
    weights = torch.ones(slices.shape)
    sums = SliceAccumulator(box, threads=threads)
    target = Target(volume, disc, torch.ones(len(disc.kx)))
    images = Coefficients(slices, weights)
    near = rotations, torch.full((poses, 2), 0.5)
    # The first evaluation is at the start; every step evaluates the trial pose.
    evaluated = samples * (GAUSS_NEWTON_STEPS + 1)
    return [
        Kernel("slice", "ns_per_sample", samples, lambda: volume.sample(rotations, *k)),
        Kernel("insert", "ns_per_sample", samples, lambda: sums.add(rotations, k, slices, weights)),
        Kernel(
            "gauss-newton",
            "ns_per_sample",
            evaluated,
            lambda: refine_poses(target, images, *near, steps=GAUSS_NEWTON_STEPS),
        ),
    ]


def matrix_kernels(box: int) -> list[Kernel]:
    """The matrix product of one chunk of the global search as the search runs it, and a plain square one."""
    config, generator = SearchConfig(), torch.Generator().manual_seed(0)
    volume = FourierVolume.from_map(torch.randn(box, box, box, generator=generator))
    disc = volume.disc()
    count = disc.count(config.search_radius)
    shifts = shift_grid(box, config.search_radius, config.shift_range_share, None)
    references = References.of(volume, so3_grid(GRID_NSIDE, GRID_INPLANE), shifts, disc, count)
    images = references.images_per_chunk()
    copies = centred_copies(torch.randn(images, count, dtype=torch.complex64, generator=generator), references.phases)
    a, b = torch.randn(2, GEMM_SIDE, GEMM_SIDE, generator=generator)
    product = torch.empty(GEMM_SIDE, GEMM_SIDE)
    chunk = 2.0 * len(copies) * copies.shape[1] * len(references.rotations)
    return [
        Kernel("e-step-product", "gflop_per_s", chunk, lambda: cross_terms(copies, images, references)),
        Kernel("plain-product", "gflop_per_s", 2.0 * GEMM_SIDE**3, lambda: torch.mm(a, b, out=product)),
    ]


def time_rounds(kernels: list[Kernel], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return wall and processor seconds of every call; a call before the first round compiles and warms up."""
    seconds: dict[str, list[tuple[float, float]]] = {kernel.name: [] for kernel in kernels}
    for kernel in kernels:
        kernel.call()
    for _ in range(rounds):
        for kernel in kernels:
            wall, cpu = time.perf_counter(), time.process_time()
            kernel.call()
            seconds[kernel.name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--box", type=int, default=128, help="px")
    parser.add_argument("--poses", type=int, default=500, help="poses per call of the sampling kernels")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    threads = set_threads(given.threads)
    results = ResultFile(given.results / "kernels.json")
    kernels = sampling_kernels(given.box, given.poses, threads) + matrix_kernels(given.box)
    timed = time_rounds(kernels, given.rounds)
    for kernel in kernels:
        wall, cpu = ([one[part] for one in timed[kernel.name]] for part in (0, 1))
        sizes = memory_MB()
        done = Finished(statistics.median(wall), statistics.median(cpu), sizes["RssAnon"], sizes["VmHWM"], "")
        figures = {kernel.unit: kernel.figure(done.wall_seconds), f"best_{kernel.unit}": kernel.figure(min(wall))}
        settings = {"box": given.box, "poses": given.poses, "rounds": given.rounds, "threads": threads}
        results.add(kernel.name, done, settings, figures)
    print(section("kernels", results.records))


if __name__ == "__main__":
    main()
