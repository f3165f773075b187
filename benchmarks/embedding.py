"""How fast ``vitreous embed`` places particles that training never saw, and that it repeats what training found.

    python -m benchmarks.embedding --n 50000 [--methods cryonoo pca --box 32 --threads 2]

Simulates the phantom's hinge twice, trains on 2,000 particles (for one epoch: speed does not depend on quality), embeds
these again and then the others. One row per method in ``results/embedding.json``.
"""

import json
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.commands import Bench, parser_of, run_command
from benchmarks.trials import Outcome, Row

NAME = "embedding"
KNOWN = 2000
"""Particles to train on."""

METHODS: dict[str, list[str]] = {
    "cryonoo": ["--method", "cryonoo", "--epochs", "2", "--noo.warmup", "1"],
    "cryodrgn": ["--method", "cryodrgn", "--epochs", "1"],
    "cryodrgn of pixels": ["--method", "cryodrgn", "--encoder", "pixels", "--epochs", "1"],
    "pca": ["--method", "pca"],
}


class Embedding(Bench):
    """Trainings on a simulated stack, and embeddings of that and of another."""

    def outcome(self, seed: int, method: str) -> Outcome:
        """Train, embed the same particles, embed the others."""
        known, others = self._stack(KNOWN, seed), self._stack(self.given.n, seed + 1)
        run = known.with_name(f"{known.name}-{method.replace(' ', '-')}")
        self.run(["flex", known / "truth.star", "-o", run, *METHODS[method]])
        again, new = (run.with_name(f"{run.name}-{part}") for part in ("again", "new"))
        self.run(["embed", known / "truth.star", "--run", run, "-o", again])
        done = self.run(["embed", others / "truth.star", "--run", run, "-o", new])
        first, second = (np.load(folder / "latents.npz")["z"] for folder in (run, again))
        metrics = json.loads((new / "summary.json").read_text())
        figures = {
            "images_per_second": float(metrics["images_per_second"]),
            "command_images_per_second": self.given.n / done.wall_seconds,
            "largest_difference": float(abs(first - second).max()),
        }
        return done, "finished", figures

    def _stack(self, n: int, seed: int) -> Path:
        folder = self.work / f"stack-{n}-{seed}"
        if not folder.exists():
            size = ["--n", n, "--box", self.given.box, "--seed", seed]
            self.run(["simulate", "phantom", "--recipe", "phantom-hinge-32", *size, "-o", folder])
        return folder

    def rows(self) -> Iterator[Row]:
        """Every method on every stack."""
        size = {"n": self.given.n, "box": self.given.box, "threads": self.given.threads}
        for seed, method in product(self.given.seeds, self.given.methods):
            yield {"method": method, **size, "seed": seed}, partial(self.outcome, seed, method)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--n", type=int, default=50_000, help="particles to embed")
    parser.add_argument("--box", type=int, default=32, help="px")
    parser.set_defaults(seeds=[1])
    given = parser.parse_args()
    run_command(NAME, given, lambda work: Embedding(given, work).rows())


if __name__ == "__main__":
    main()
