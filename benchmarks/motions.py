"""Latents of particles that training saw and of particles that it did not, by every method of ``vitreous flex``.

    python -m benchmarks.motions --structure 1igy.cif.gz --ctf ctf.npz
    python -m benchmarks.motions --structure 1igy.cif.gz --snr 0.01 --seeds 1 --methods cryonoo pca --append
    python -m benchmarks.motions --structure phantom --recipe phantom-hinge-32 --n 2000 --append
    python -m benchmarks.motions --structure phantom --recipe phantom-hinge-32 --methods cryonoo --stretch 2 --append

Simulates a recipe (an antibody whose Fab turns through the full circle by default) with a tenth of the particles
and a tenth of the states kept apart, trains on the rest, embeds the two parts that were kept, and compares with the
truth by ``vitreous evaluate latents``. One row per run in ``results/motions.json``; ``--append`` goes on. ``--stretch``
gives trainings more epochs, or fewer, so that methods can be compared at the same time.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.commands import Bench, parser_of, run_command
from benchmarks.processes import VITREOUS, run_measured
from benchmarks.trials import Outcome, Row
from vitreous.methods.cryodrgn.training import ANNEAL

NAME = "motions"
FIGURES = ("circular_correlation", "median_error_deg", "fsc_auc_mean", "kl_known_new", "kl_known_new_within_known")
PARTS = ("unseen_particles", "unseen_states")
NETWORK = [
    *("--encoder-width", "128", "--encoder-layers", "2", "--decoder-width", "128", "--decoder-layers", "2"),
    *("--learning-rate", "1.5e-3", "--batch", "32", "--epochs", "24"),
]
NOO = ["--method", "cryonoo", *NETWORK, "--noo.warmup", "12", "--noo.expander", "64"]
CONSTANT = ["--anneal", "0"]
"""Rates as in the papers."""

FORMER = ["--method", "cryoformer", "--cryoformer.levels", "4", "--cryoformer.epochs", "6"]
SEEDS = {"cryoformer": "--cryoformer.seed", "pca": "--pca.seed"}
"""Option of the seed, where it is another than ``--seed``."""

METHODS: dict[str, list[str]] = {
    "cryonoo": NOO,
    "cryodrgn": ["--method", "cryodrgn", *NETWORK],
    "cryonoo, constant rate": [*NOO, *CONSTANT],
    "cryodrgn, constant rate": ["--method", "cryodrgn", *NETWORK, *CONSTANT],
    "pca": ["--method", "pca"],
    "pca, ten maps": ["--method", "pca", "--dims", "10"],
    "cryoformer": FORMER,
    "autodecoder": ["--method", "autodecoder", *NETWORK],
    "cryonoo of pixels": [*NOO, "--encoder", "pixels"],
    "cryodrgn of maps": ["--method", "cryodrgn", *NETWORK, "--encoder", "maps"],
    "basis decoder": ["--method", "cryodrgn", *NETWORK, "--decoder", "basis"],
    "basis decoder of maps": ["--method", "cryodrgn", *NETWORK, "--decoder", "basis", "--encoder", "maps"],
}
"""Options of every row; networks are small enough for minutes on a processor."""

TOLD = {"told the angle": "angle", "told nothing": "none"}
"""Rows of the same decoder whose latents are told: the most and the least that an encoder could bring."""

EPOCHS = {"--epochs", "--cryoformer.epochs", "--noo.warmup"}
"""Options that count epochs."""


def stretched(words: list[str], stretch: float) -> list[str]:
    """Multiply the options that count epochs."""
    return [
        f"{max(1, round(float(word) * stretch))}" if before in EPOCHS else word
        for before, word in zip(["", *words], words, strict=False)
    ]


class Motions(Bench):
    """Trainings on simulated stacks, judged on particles that they saw and on particles that they did not."""

    def rows(self) -> Iterator[Row]:
        """Every method on every stack, seed by seed."""
        given = self.given
        for seed, snr, method in product(given.seeds, given.snr, given.methods):
            size = {"n": given.n, "box": given.box, "precision": given.precision, "threads": given.threads}
            label = method if given.stretch == 1 else f"{method}, epochs × {given.stretch:g}"
            known = {"recipe": given.recipe, "SNR": snr, "seed": seed, "method": label, **size}
            yield known, partial(self.outcome, snr, seed, method)

    def outcome(self, snr: float, seed: int, method: str) -> Outcome:
        """Train, embed what was kept apart, and judge all three parts."""
        stack = self.stack(snr, seed)
        if method in TOLD:
            return self.told(stack, seed, TOLD[method])
        run = stack.parent / f"{stack.name}-{method.replace(', ', '-').replace(' ', '-')}-{self.given.stretch:g}"
        options = stretched(METHODS[method], self.given.stretch)
        kind = options[options.index("--method") + 1]
        words = ["flex", stack / "train.star", "-o", run, "--dims", str(self.given.dims), *options]
        if kind != "pca":
            words += ["--precision", self.given.precision]
        done = self.run([*words, SEEDS.get(kind, "--seed"), str(seed)])
        figures = self._judged(run, stack, "train", [])
        for part in PARTS:
            new = run.with_name(f"{run.name}-{part}")
            self.run(["embed", stack / f"{part}.star", "--run", run, "-o", new])
            figures |= self._judged(new, stack, part, ["--known", run])
        return done, "finished", figures

    def told(self, stack: Path, seed: int, kind: str) -> Outcome:
        """Train the decoder alone."""
        file = stack / "told.json"
        options = [*stretched(NETWORK, self.given.stretch), "--anneal", str(ANNEAL), "--seed", str(seed)]
        settings = [
            f"{name[2:].replace('-', '_')}={value}" for name, value in zip(options[::2], options[1::2], strict=True)
        ]
        words = ["-m", "benchmarks.given_latents", stack, file, "--latents", kind, "--threads", self.given.threads]
        words += ["--precision", self.given.precision, "--settings", *settings]
        done = run_measured([sys.executable, *map(str, words)])
        return done, "finished", json.loads(file.read_text())

    def stack(self, snr: float, seed: int) -> Path:
        """Return a simulated stack, made where it does not exist."""
        folder = self.work / f"{self.given.recipe}-{snr}-{seed}"
        if not (folder / "train.star").exists():
            ctf = ["--ctf", self.given.ctf] if self.given.ctf else []
            size = ["--n", str(self.given.n), "--box", str(self.given.box), "--snr", str(snr), "--seed", str(seed)]
            kept = ["--unseen", "0.1", "--unseen-states", "0.1"]
            self.run(
                ["simulate", self.given.structure, "--recipe", self.given.recipe, *size, *kept, *ctf, "-o", folder]
            )
        return folder

    def _judged(self, run: Path, stack: Path, part: str, known: list[Any]) -> dict[str, float]:
        file = run / "judged.json"
        words = ["evaluate", "latents", run, "--truth", stack / "latents_truth.csv", "--maps", "25", *known]
        run_measured([*VITREOUS, *map(str, words), "--json", str(file)])
        found = json.loads(file.read_text())
        return {f"{part}.{name}": float(found[name]) for name in FIGURES if name in found}


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--structure", required=True, help="file of the recipe: PDB 1IGY; or phantom")
    parser.add_argument("--recipe", default="igg-1d-48", help="of vitreous simulate")
    parser.add_argument("--ctf", type=Path, help="table of real CTFs; a range of defocus by default")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=[*METHODS, *TOLD])
    parser.add_argument("--snr", type=float, nargs="+", default=[0.1, 0.01])
    parser.add_argument("--n", type=int, default=3000, help="particles")
    parser.add_argument("--box", type=int, default=32, help="px")
    parser.add_argument("--stretch", type=float, default=1.0, help="multiplies the epochs of every training")
    parser.add_argument("--dims", type=int, default=6, help="size of the latents")
    parser.add_argument("--precision", default="bf16-mixed", help="of trainings; 32-true on processors without AVX512")
    return parser.parse_args()


def main() -> None:
    given = parse()
    run_command(NAME, given, lambda work: Motions(given, work).rows())


if __name__ == "__main__":
    main()
