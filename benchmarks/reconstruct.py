"""Reconstruction with known poses beside RELION: speed, memory, and how close the maps are to the truth.

    python -m benchmarks.reconstruct                             20,000 images of 128 px
    python -m benchmarks.reconstruct --n 500 --box 64            a try

Times ``vitreous simulate`` for 2n images, then runs ``vitreous reconstruct`` on one thread, ``relion_reconstruct`` (one
process) and ``vitreous reconstruct`` on several threads in turn, so that each pair meets the same machine; then one
thread on n/2 and on 2n images for the growth of the memory. Writes ``results/reconstruct.json`` and prints its tables.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.processes import VITREOUS, Finished, run_measured
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from vitreous.evaluate.maps import compare_maps
from vitreous.io import open_particles, write_relion_star
from vitreous.io.maps import read_map

RELION = "relion_reconstruct"
WARM_UP = 200
"""Images of the run that compiles and caches kernels before anything is timed."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    n: int
    box: int
    snr: float
    repetitions: int
    threads: int
    seed: int


class Bench:
    """One run of the benchmark in a work folder."""

    def __init__(self, options: Options, work: Path, results: ResultFile) -> None:
        self.options, self.work, self.results = options, work, results
        self.stack = work / "stack"

    def run(self) -> None:
        n, threads = self.options.n, self.options.threads
        for repetition in range(1, self.options.repetitions + 1):
            self.simulate(repetition)
        self.subset(min(WARM_UP, n))
        self.run_vitreous(min(WARM_UP, n), 1)
        for size in (n, n // 2, 2 * n):
            self.subset(size)
        self.read_stack()
        has_relion = shutil.which(RELION) is not None
        if not has_relion:
            print(f"skipped: {RELION} is not installed (Debian: apt-get install relion)")
        for repetition in range(1, self.options.repetitions + 1):
            self.reconstruct(n, 1, repetition)
            if has_relion:
                self.reconstruct_with_relion(n, repetition)
            self.reconstruct(n, threads, repetition)
        for size in (n // 2, 2 * n):
            self.reconstruct(size, 1, 1)

    def simulate(self, repetition: int) -> None:
        """Make the stack; it is the same every time."""
        o = self.options
        images = 2 * o.n
        sizes = ("--n", str(images), "--box", str(o.box), "--snr", str(o.snr), "--seed", str(o.seed))
        words = ("simulate", "phantom", *sizes, "--threads", str(o.threads), "--overwrite", "--quiet")
        done = run_measured([*VITREOUS, *words, "-o", self.stack])
        inside = json.loads((self.stack / "summary.json").read_text())["seconds"]
        rates = {"images_per_s": images / done.wall_seconds, "images_per_s_after_start": images / inside}
        self.add("vitreous simulate", done, (images, o.threads, repetition), rates)

    def subset(self, size: int) -> None:
        """Write the STAR file of the first images beside the stack."""
        particles = open_particles(self.stack / "truth.star", contrast="bright")
        write_relion_star(self.star(size), particles.select(torch.arange(size)))

    def star(self, size: int) -> Path:
        return self.stack / f"first_{size}.star"

    def read_stack(self) -> None:
        """Bring the stack into the system's cache, so that no program pays for the disk."""
        with (self.stack / "particles.mrcs").open("rb") as file:
            while file.read(1 << 24):
                pass

    def reconstruct(self, size: int, threads: int, repetition: int) -> None:
        done, out = self.run_vitreous(size, threads)
        self.add("vitreous reconstruct", done, (size, threads, repetition), self.compare(out / "volume.mrc"))

    def run_vitreous(self, size: int, threads: int) -> tuple[Finished, Path]:
        out = self.work / "run"
        words = ("reconstruct", self.star(size), "-o", out, "--threads", str(threads), "--overwrite", "--quiet")
        return run_measured([*VITREOUS, *words]), out

    def reconstruct_with_relion(self, size: int, repetition: int) -> None:
        out = self.work / "relion.mrc"
        words = (RELION, "--i", self.star(size).name, "--o", out, "--ctf")
        # RELION looks for images from the folder in which it runs.
        done = run_measured(words, folder=self.stack, environment={"OMP_NUM_THREADS": "1"})
        self.add(RELION, done, (size, 1, repetition), self.compare(out))

    def compare(self, path: Path) -> dict[str, float]:
        """Return how far the map agrees with the truth; both have the frame of the true poses."""
        found = compare_maps(read_map(path), read_map(self.stack / "state_01.mrc"), align=False)
        return {"resolution_05_A": found.resolution_05_A}

    def add(self, name: str, done: Finished, run: tuple[int, int, int], quality: dict[str, float]) -> None:
        settings = dict(zip(("n", "threads", "repetition"), run), box=self.options.box, snr=self.options.snr)
        self.results.add(name.replace(" ", "-"), done, settings, quality)
        print(f"{name}, {settings}: {done.wall_seconds:.1f} s, {done.anonymous_MB:.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="images of the comparison")
    parser.add_argument("--box", type=int, default=128, help="px")
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of the simulation and of the second reconstruction")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for stacks and maps, kept; a temporary one by default")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = vars(parser.parse_args())
    work, folder = given.pop("work"), given.pop("results")
    results = ResultFile(folder / "reconstruct.json")
    with tempfile.TemporaryDirectory(prefix="vitreous-bench-") as temporary:
        Bench(Options(**given), (work or Path(temporary)).absolute(), results).run()
    print("\n" + section("reconstruct", results.records))


if __name__ == "__main__":
    main()
