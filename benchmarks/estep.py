"""Rates of the E-step's matrix products in a whole ab initio run, beside a plain large product on the same threads.

    python -m benchmarks.estep                                  phantom, 3,000 images of 64 px, 2 threads
    python -m benchmarks.estep --box 128 --n 1000 --append

The run is that of ``vitreous abinitio``, in this process, with a clock around every matrix product of the E-step, every
E-step of a chunk, and every stochastic iteration; scores are made by products throughout. Chunks run on threads of
their own; a rate is operations over the threads' mean time. The plain product is timed right before and right after, in
the same way: one on each thread at a time. Writes ``results/engine-estep.json`` and prints its tables.
"""

import argparse
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.processes import VITREOUS, Finished, memory_MB, run_measured
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from vitreous.compute.parallel import map_on_threads
from vitreous.compute.threads import set_threads
from vitreous.data import Particles
from vitreous.io import open_particles
from vitreous.methods.search import abinitio, global_search
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.method import Search
from vitreous.reconstruct import maximisation
from vitreous.reconstruct.expectation import References, cross_terms, references_of

NAME = "engine-estep"
PLAIN_SIDE = 2048
PLAIN_ROUNDS = 6
ELSEWHERE = "searches of the whole grid"
THIRDS = ("radius 6 to 8", "radius 8 to 10", "radius 10 to 12")
"""Parts of the march of the stochastic search, whose radius grows linearly."""


@dataclass
class Spent:
    """Time and floating-point operations of one kind of work, summed over threads, and its largest product."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    flop: float = 0.0
    shape: tuple[int, ...] = ()


Shape = Callable[..., tuple[int, ...]]


@dataclass
class Clocks:
    """What was spent, by kind of work and part of the run."""

    spent: dict[tuple[str, str], Spent] = field(default_factory=lambda: defaultdict(Spent))
    where: str = ELSEWHERE
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, what: str, call: Callable[..., Any], shape: Shape) -> Callable[..., Any]:
        """Return a function that counts its time, and the operations of products of that shape."""
        clock = time.thread_time if shape is not no_product else time.process_time

        def counted(*args: Any) -> Any:
            started, processor = time.perf_counter(), clock()
            out = call(*args)
            seconds, processor = time.perf_counter() - started, clock() - processor
            sides = shape(*args)
            with self._lock:
                spent = self.spent[what, self.where]
                spent.seconds += seconds
                spent.processor_seconds += processor
                spent.flop += 2.0 * prod(sides) if sides else 0.0
                spent.shape = max(spent.shape, sides)
            return out

        return counted

    def iteration(self, iterate: Callable[..., Any], config: SearchConfig) -> Callable[..., Any]:
        """Return a stochastic iteration that counts its time and says where its products are."""
        width = (config.search_radius - config.start_radius) / len(THIRDS)
        timed = self.timed("iteration", iterate, no_product)

        def counted(run: Any, state: Any, step: Any) -> Any:
            self.where = THIRDS[min(int((step.radius - config.start_radius) / width), len(THIRDS) - 1)]
            try:
                return timed(run, state, step)
            finally:
                self.where = ELSEWHERE

        return counted


def product_shape(copies: Tensor, _images: int, references: References) -> tuple[int, ...]:
    """Moved images, numbers per image, rotations: the sides of the E-step's matrix product."""
    return len(copies), copies.shape[1], len(references.rotations)


def estep_shape(
    _sums: object, copies: Tensor, _c2: Tensor, references: References, _sharpness: float
) -> tuple[int, ...]:
    """Sides of the product within a whole E-step."""
    return product_shape(copies, 0, references)


def no_product(*_args: object) -> tuple[int, ...]:
    """Return no sides: what is timed is no product."""
    return ()


def _by_products(references: Callable[..., Any], _path: object, *rest: Any) -> Any:
    return references("products", *rest)


@contextmanager
def clocks_in_the_engine(clocks: Clocks, config: SearchConfig) -> Iterator[None]:
    """Put clocks around what is measured."""
    product = clocks.timed("matrix product", cross_terms, product_shape)
    sums = clocks.timed("whole E-step", maximisation.RotationSums.add_posterior, estep_shape)
    iteration = clocks.iteration(abinitio.AbInitio._iterate, config)
    with ExitStack() as patches:
        for module in (abinitio, global_search):
            patches.enter_context(patch.object(module, "references_of", partial(_by_products, references_of)))
        patches.enter_context(patch.object(maximisation, "cross_terms", product))
        patches.enter_context(patch.object(global_search, "cross_terms", product))
        patches.enter_context(patch.object(maximisation.RotationSums, "add_posterior", sums))
        patches.enter_context(patch.object(abinitio.AbInitio, "_iterate", iteration))
        yield


def plain_rate(threads: int) -> list[float]:
    """GFLOP/s of large products, one on every thread at a time, in several rounds."""
    a, b = torch.randn(2, PLAIN_SIDE, PLAIN_SIDE)
    outs = [torch.empty(PLAIN_SIDE, PLAIN_SIDE) for _ in range(threads)]
    rates = []
    for _ in range(PLAIN_ROUNDS):
        started = time.perf_counter()
        map_on_threads(lambda worker, _: torch.mm(a, b, out=outs[worker]), range(threads))
        rates.append(2e-9 * threads * PLAIN_SIDE**3 / (time.perf_counter() - started))
    return rates[1:]


def measure(particles: Particles, config: SearchConfig) -> tuple[Clocks, Finished, float]:
    """Run the engine between plain products: the clocks, the run, GFLOP/s of the plain product."""
    threads = torch.get_num_threads()
    rates, clocks = plain_rate(threads), Clocks()
    started, processor = time.perf_counter(), time.process_time()
    with clocks_in_the_engine(clocks, config):
        Search(config).run(particles)
    wall, cpu, memory = time.perf_counter() - started, time.process_time() - processor, memory_MB()
    rates += plain_rate(threads)
    return clocks, Finished(wall, cpu, memory["RssAnon"], memory["VmHWM"], ""), sum(rates) / len(rates)


def rows(clocks: Clocks, run: Finished, plain: float) -> Iterator[tuple[dict[str, Any], Finished, dict[str, float]]]:
    """Yield settings, times and figures of every kind of work in every part of the run."""
    threads = torch.get_num_threads()
    seconds = 2e-9 * threads * PLAIN_SIDE**3 / plain
    sides = _as_text((PLAIN_SIDE,) * 3)
    yield (
        {"what": "plain product", "where": "alone", "shape": sides},
        _of(run, seconds, seconds),
        {"gflop_per_s": plain},
    )
    yield {"what": "whole run", "where": "all", "shape": "–"}, run, {}
    for (what, where), spent in clocks.spent.items():
        wall = spent.seconds / (threads if spent.shape else 1)
        figures = {"share_of_run": wall / run.wall_seconds}
        stage = clocks.spent.get(("iteration", where))
        if stage is not None and spent.shape:
            figures["share_of_stage"] = wall / stage.seconds
        if spent.shape:
            rate = 1e-9 * spent.flop / wall
            figures |= {"gflop_per_s": rate, "share_of_plain": rate / plain}
        settings = {"what": what, "where": where, "shape": _as_text(spent.shape)}
        yield settings, _of(run, wall, spent.processor_seconds), figures


def _as_text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "–"


def _of(run: Finished, wall_seconds: float, cpu_seconds: float) -> Finished:
    return replace(run, wall_seconds=wall_seconds, cpu_seconds=cpu_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000, help="images of the phantom")
    parser.add_argument("--box", type=int, default=64, help="px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=SearchConfig.iterations, help="of the stochastic search")
    parser.add_argument("--append", action="store_true", help="keep the rows that are there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    known = {"n": given.n, "box": given.box, "threads": set_threads(given.threads)}
    results = ResultFile(given.results / f"{NAME}.json", append=given.append)
    if results.has(known):
        print(f"{results.path} has rows for {known}")
        return
    with tempfile.TemporaryDirectory(prefix="vitreous-bench-") as stack:
        sizes = ("--n", str(given.n), "--box", str(given.box), "--shift", f"{given.box / 32:g}")
        run_measured([*VITREOUS, "simulate", "phantom", *sizes, "--quiet", "-o", f"{stack}/phantom"])
        particles = open_particles(Path(stack) / "phantom" / "particles.star", contrast="bright")
        clocks, run, plain = measure(particles, SearchConfig(iterations=given.iterations))
    for settings, done, figures in rows(clocks, run, plain):
        results.add(NAME, done, {**known, **settings}, figures)
    print(section(NAME, results.records))


if __name__ == "__main__":
    main()
