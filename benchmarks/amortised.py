"""CryoAI on ideal and noisy images of one molecule: maps and losses, the symmetric trap, the number of particles.

    python -m benchmarks.amortised --structure 4ake.cif.gz
    python -m benchmarks.amortised --structure 4ake.cif.gz --tables trap --seeds 1 2 3 4 5 6 --append

Simulates adenylate kinase in random orientations, trains encoder and map on it, and compares both with the truth after
every round of 250 steps. One row per run in ``results/amortised.json``, with the figures of the last round and the
processor time, comparisons left out, at which poses came within 10° and 5° in the median.
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
from benchmarks.processes import run_measured
from benchmarks.trials import Outcome, Row

NAME = "amortised"
COMMON = {"encoder_box": 16, "batch": 64, "shift_range": 0.0}
LAST = ("explained", "median_deg", "squared_fnorm_median", "resolution_A", "step", "cpu_seconds")

Settings = dict[str, Any]

TABLES: dict[str, list[tuple[int | None, Settings]]] = {
    "maps": [
        (None, {"volume": volume, "width": 64, "loss": loss})
        for volume, loss in product(("voxels", "fouriernet", "siren", "mlp"), ("mirrored", "symmetric", "l2"))
    ],
    "parts": [
        (None, settings)
        for settings in (
            {"heads": 1},
            {"encoder": "cnn", "channels": 8},
            {"encoder": "cnn", "channels": 8, "heads": 1},
            {"whiten": False},
            {"march_from": None},
            {"encoder_box": 32},
        )
    ],
    "trap": [(None, {"heads": 1, "loss": loss}) for loss in ("mirrored", "symmetric", "l2")],
    "particles": [(n, {}) for n in (5_000, 20_000, 80_000)],
}
"""Rows of every table: particles, if others than asked for, and what differs from the common settings."""


class Amortised(Bench):
    """Simulated stacks and trainings on them."""

    def rows(self) -> Iterator[Row]:
        """Every row of the tables, seed by seed."""
        given = self.given
        for seed, table in product(given.seeds, given.tables):
            for n, settings in TABLES[table]:
                known = {
                    **{
                        "table": table,
                        "recipe": given.recipe,
                        "n": n or given.n,
                        "box": given.box,
                        "snr": str(given.snr),
                        "seed": seed,
                    },
                    **{"minutes": given.minutes, "threads": given.threads},
                    **{"settings": " ".join(f"{name}={value}" for name, value in settings.items())},
                }
                yield known, partial(self.outcome, known, {**COMMON, **settings})

    def outcome(self, known: dict[str, Any], settings: Settings) -> Outcome:
        """Train, and read what was seen on the way."""
        seed, stack, out = known["seed"], self.stack(known["n"]), self.work / "outcome.json"
        words = [f"{name}={'null' if value is None else value}" for name, value in settings.items()]
        given = self.given
        limits = ["--seed", seed, "--minutes", given.minutes, "--threads", given.threads]
        run = [sys.executable, "-m", "benchmarks.amortised_run", stack, out, *limits, "--settings", *words]
        done = run_measured([str(word) for word in run])
        found = json.loads(out.read_text())
        curve = found["curve"]
        curves = given.results / "curves" / f"{NAME}.jsonl"
        curves.parent.mkdir(exist_ok=True)
        with curves.open("a") as file:
            file.write(json.dumps({**known, "curve": curve}) + "\n")
        figures = {"mirror_correlation": found["mirror_correlation"], **{name: curve[-1][name] for name in LAST}}
        for limit in (10, 5):
            times = [point["cpu_seconds"] for point in curve if point["median_deg"] <= limit]
            figures |= {f"cpu_seconds_to_{limit}_deg": times[0]} if times else {}
        return done, found["verdict"], figures

    def stack(self, n: int) -> Path:
        """Return a simulated stack, made where it does not exist."""
        given = self.given
        folder = self.work / f"{given.recipe}-{n}-{given.box}-{given.snr}"
        if not (folder / "truth.star").exists():
            sizes = ["--n", n, "--box", given.box, "--snr", given.snr, "--seed", 1]
            self.run(["simulate", given.structure, "--recipe", given.recipe, *sizes, "-o", folder])
        return folder


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--structure", required=True, help="what the recipe needs")
    parser.add_argument("--recipe", default="kinase-ideal-32", help="of vitreous simulate")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--n", type=int, default=10_000, help="particles")
    parser.add_argument("--box", type=int, default=32, help="px")
    parser.add_argument("--snr", type=float, default=float("inf"))
    parser.add_argument("--minutes", type=float, default=3.0, help="processor time of a training, at most")
    return parser.parse_args()


def main() -> None:
    given = parse()
    run_command(NAME, given, lambda work: Amortised(given, work).rows())


if __name__ == "__main__":
    main()
