"""How fast ``vitreous embed`` places particles that training never saw, and that it repeats what training found.

    python -m benchmarks.embedding --n 50000 [--methods cryonoo pca --box 32 --threads 2]

Simulates the phantom's hinge, trains on 2,000 particles (for one epoch: speed does not depend on quality), embeds
these again and then the others. One row per method in ``results/embedding.json``.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import VITREOUS, Finished, run_measured
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from benchmarks.trials import Outcome, run_rows

NAME = "embedding"
KNOWN = 2000
"""Particles to train on."""

METHODS: dict[str, list[str]] = {
    "cryonoo": ["--method", "cryonoo", "--epochs", "2", "--noo.warmup", "1"],
    "cryodrgn": ["--method", "cryodrgn", "--epochs", "1"],
    "cryodrgn of pixels": ["--method", "cryodrgn", "--encoder", "pixels", "--epochs", "1"],
    "pca": ["--method", "pca"],
}


class Bench:
    """One simulated stack, and runs on it."""

    def __init__(self, given: argparse.Namespace, work: Path) -> None:
        self.given, self.work = given, work

    def outcome(self, method: str) -> Outcome:
        """Train, embed the same particles, embed the others."""
        stack, run = self._stack(), self.work / f"run-{method.replace(' ', '-')}"
        self._run(["flex", stack / "train.star", "-o", run, *METHODS[method]])
        again, new = (run.with_name(f"{run.name}-{part}") for part in ("again", "new"))
        self._run(["embed", stack / "train.star", "--run", run, "-o", again])
        done = self._run(["embed", stack / "unseen_particles.star", "--run", run, "-o", new])
        first, second = (np.load(folder / "latents.npz")["z"] for folder in (run, again))
        metrics = json.loads((new / "summary.json").read_text())
        figures = {
            "images_per_second": float(metrics["images_per_second"]),
            "command_images_per_second": self.given.n / done.wall_seconds,
            "largest_difference": float(abs(first - second).max()),
        }
        return done, "finished", figures

    def _stack(self) -> Path:
        folder = self.work / "stack"
        if not folder.exists():
            n, box = self.given.n + KNOWN, self.given.box
            size = ["--n", n, "--box", box, "--unseen", self.given.n / n]
            self._run(["simulate", "phantom", "--recipe", "phantom-hinge-32", *size, "-o", folder])
        return folder

    def _run(self, words: list[Any]) -> Finished:
        rest = ["--threads", self.given.threads, "--overwrite", "--quiet"]
        return run_measured([*VITREOUS, *map(str, [*words, *rest])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--n", type=int, default=50_000, help="particles to embed")
    parser.add_argument("--box", type=int, default=32, help="px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    results = ResultFile(given.results / f"{NAME}.json")
    with tempfile.TemporaryDirectory(prefix="vitreous-bench-") as temporary:
        bench = Bench(given, Path(temporary))
        size = {"n": given.n, "box": given.box, "threads": given.threads}
        rows = [({"method": method, **size}, partial(bench.outcome, method)) for method in given.methods]
        run_rows(NAME, rows, results, at_most_minutes=float("inf"))
    print("\n" + section(NAME, results.records))


if __name__ == "__main__":
    main()
