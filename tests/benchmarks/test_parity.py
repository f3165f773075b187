"""What both programs say of a training is read as they mean it; maps are compared with those of their particles."""

import argparse
import sys
from pathlib import Path

import pytest
from benchmarks.cryodrgn_program import Epoch, epochs_of
from benchmarks.parity import Parity, epochs_of_metrics
from benchmarks.tables import section

from tests.benchmarks.test_tables import record
from vitreous.evaluate.records import BenchmarkRecord

GIVEN = {"recipe": "phantom-hinge-32", "structure": "phantom", "ctf": None, "snr": 1.0, "n": 60, "box": 16, "dims": 2}
GIVEN |= {"width": 8, "layers": 1, "batch": 8, "rate": 1e-4, "epochs": 2, "threads": 1, "maps": 5}

PROGRAM = """\
#!{python}
# Latents are the numbers of the true states, and the map of a latent is the true map of its state.
import csv, pickle, shutil, sys
from pathlib import Path
import numpy as np
words = sys.argv[1:]
out = Path(words[words.index("-o") + 1]) if "-o" in words else None
if words[0].startswith("parse"):
    out.touch()
if words[0] == "train_vae":
    with Path(words[1]).with_name("latents_truth.csv").open() as file:
        states = [float(row["state"]) for row in csv.DictReader(file)]
    with (out / "z.pkl").open("wb") as file:
        pickle.dump(np.array([states, states], dtype=np.float32).T, file)
    (out / "run.log").write_text("Average gen loss = 0.5, KLD = 1; Finished in 0:00:02.5\\n" * 2)
if words[0] == "eval_vol":
    out.mkdir()
    for i, (state, _) in enumerate(np.loadtxt(words[words.index("--zfile") + 1]), 1):
        shutil.copy(out.parents[1] / f"state_{{round(state):02d}}.mrc", out / f"vol_{{i}}.mrc")
"""


def test_epochs_of_the_package() -> None:
    line = "(INFO) # =====> Epoch: {} Average gen loss = {}, KLD = 0.47, total loss = 0.7; Finished in {}\n"
    between = "(INFO) # [Train Epoch: 1/2] [16/32 particles] gen loss=0.9, kld=5.5, beta=0.1, loss=0.6\n"
    log = line.format(1, 0.697514, "0:00:12.500000") + between + line.format(2, 0.5, "1:02:03.25")
    assert epochs_of(log) == [Epoch(12.5, 0.697514), Epoch(3723.25, 0.5)]


def test_epochs_that_checkpoints_divide() -> None:
    lines = [
        {"epoch": 1.0, "step": 10, "steps_per_second": 5.0, "residual": 0.7},
        {"epoch": 1.4, "step": 14, "steps_per_second": 2.0, "residual": 0.5},
        {"epoch": 2.0, "step": 20, "steps_per_second": 6.0, "residual": 0.6},
    ]
    first, second = epochs_of_metrics(lines)
    assert (first.seconds, second.seconds) == pytest.approx((2.0, 3.0))
    assert (first.residual, second.residual) == pytest.approx((0.7, 0.56))


def test_a_program_that_knows_the_truth_gets_the_best_figures(tmp_path: Path) -> None:
    program = tmp_path / "cryodrgn"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    bench = Parity(argparse.Namespace(**GIVEN, cryodrgn=str(program)), tmp_path)
    done, verdict, figures = bench.outcome("cryodrgn", 1)
    assert (verdict, done.wall_seconds > 0) == ("finished", True)
    assert figures["fsc_auc_mean"] == pytest.approx(0.5)
    assert figures["images"] == 5
    assert figures["circular_correlation"] > 0.9
    assert (figures["seconds_per_epoch"], figures["residual"]) == (2.5, 0.5)


def test_the_table_compares_seed_by_seed_under_equal_conditions() -> None:
    conditions = {name: value for name, value in GIVEN.items() if name not in ("structure", "ctf", "maps")}

    def row(program: str, seed: int, area: float, seconds: float, **other: object) -> BenchmarkRecord:
        quality = {"fsc_auc_mean": area, "seconds_per_epoch": seconds, "cpu_seconds": 9.0, "residual": 0.5}
        known = {**conditions, "program": program, "seed": seed, "verdict": "finished", **other}
        return record("parity", 10.0, {**quality, "circular_correlation": 0.9}, **known)

    ours = [row("vitreous, 32-true", seed, 0.40, 3.0) for seed in (1, 2, 3)]
    theirs = [row("cryodrgn 4.3.1", 1, 0.39, 6.0), row("cryodrgn 4.3.1", 2, 0.41, 4.0)]
    elsewhere = row("cryodrgn 4.3.1", 3, 0.1, 100.0, n=7)
    text = section("parity", [*ours, *theirs, elsewhere])
    assert "| 3 | 0.400 ± 0.000 | 0.900 ± 0.000 | 0.5000 ± 0.0000 | 3.0 ± 0.0 | 9 ± 0 | 100 ± 0 |" in text
    assert "| 100 ± 0 | 0.000 ± 0.014 | 0.62 ± 0.18 | 1.00 ± 0.00 |\n" in text
    assert text.count("| – | – | – |\n") == 2
