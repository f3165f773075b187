"""Speed of the hash grid: points per second, forward and backward, and its reads beside a plain copy of memory.

    python -m benchmarks.hash_grid                                      2¹⁶ to 2²⁰ points; up to 5 GB of memory
    python -m benchmarks.hash_grid --log2-points 12 --levels 4 --rounds 2

A row is a number of points, of levels and of threads (on a GPU, one row for all threads). Every round reads the
features of points drawn uniformly in the cube, then sends a gradient back to the tables; a row holds the medians. A
point reads eight vertices of every level: ``8 · levels · features`` numbers of 4 bytes. Writes
``results/hash-grid.json`` and prints its table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.processes import Finished, memory_MB
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from vitreous.compute.device import resolve_device
from vitreous.compute.threads import set_threads
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.nn.hash_grid import HashGrid

NAME = "hash-grid"
COPIED = 1 << 26
"""Numbers of 4 bytes that the plain copy copies: more than any cache holds."""

Times = tuple[float, float]
"""Wall and processor seconds."""


def timed(call: Callable[[], object], device: torch.device) -> Times:
    """Time a call to its end, on a GPU as well."""
    _wait_for(device)
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    _wait_for(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def medians(rounds: list[Times]) -> Times:
    """Return the median of each, but for the first round, which warms up."""
    wall, cpu = (statistics.median(each) for each in zip(*rounds[1:]))
    return wall, cpu


def copy_bytes_per_s(device: torch.device, rounds: int) -> float:
    """Bytes that a plain copy reads and writes in a second."""
    source = torch.ones(COPIED, device=device)
    target = torch.empty_like(source)
    seconds = medians([timed(lambda: target.copy_(source), device) for _ in range(rounds + 1)])[0]
    return 2 * source.element_size() * COPIED / seconds


def passes(grid: HashGrid, points: Tensor, rounds: int) -> tuple[Times, Times]:
    """Median times of the forward and of the backward pass, to the tables."""
    forward, backward = [], []
    for _ in range(rounds + 1):
        found: list[Tensor] = []
        forward.append(timed(lambda: found.append(grid(points)), points.device))  # noqa: B023  called at once
        gradient = torch.ones_like(found[0])
        backward.append(timed(lambda: found[0].backward(gradient), points.device))  # noqa: B023
        grid.zero_grad()
    return medians(forward), medians(backward)


def figures(grid: HashGrid, count: int, seconds: tuple[float, float], copied: float) -> dict[str, float]:
    """Rates of both passes, and the rate of their reads (or sums) of the tables over that of a plain copy."""
    bytes_per_point = 8 * grid.outputs * grid.table.element_size()
    found = {"copy_GB_per_s": 1e-9 * copied}
    for name, each in zip(("forward", "backward"), seconds):
        found[f"{name}_per_s"] = count / each
        found[f"{name}_over_copy"] = bytes_per_point * count / each / copied
    return found


def parse() -> argparse.Namespace:
    usual = CryoFormerConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log2-points", type=int, nargs="+", default=[16, 17, 18, 19, 20])
    parser.add_argument("--levels", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--features", type=int, default=usual.level_features, help="of each level")
    parser.add_argument("--log2-entries", type=int, default=usual.log2_entries, help="of each level")
    parser.add_argument("--base", type=int, default=usual.base, help="cells along the cube at the coarsest level")
    parser.add_argument("--finest", type=int, default=128, help="cells along the cube at the finest level")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    given = parse()
    device = resolve_device(given.device)
    results = ResultFile(given.results / f"{NAME}.json")
    shape = {name: getattr(given, name) for name in ("features", "log2_entries", "base", "finest")}
    for asked in given.threads if device.type == "cpu" else given.threads[-1:]:
        threads = set_threads(asked)
        copied = copy_bytes_per_s(device, given.rounds)
        for levels, log2_points in product(given.levels, given.log2_points):
            grid = HashGrid(levels=levels, **shape).to(device)
            generator = torch.Generator().manual_seed(0)
            points = (2 * torch.rand(1 << log2_points, 3, generator=generator) - 1).to(device)
            (forward, of_forward), (backward, of_backward) = passes(grid, points, given.rounds)
            sizes = memory_MB()
            cpu = of_forward + of_backward
            done = Finished(forward + backward, cpu, sizes["RssAnon"], sizes["VmHWM"], "")
            known = {"device": device.type, "threads": threads, "levels": levels, "points": len(points), **shape}
            results.add(NAME, done, known, figures(grid, len(points), (forward, backward), copied))
    print(section(NAME, results.records))


if __name__ == "__main__":
    main()
