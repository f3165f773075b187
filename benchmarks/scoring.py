"""Runs and maps compared with the truth, by vitreous and, where one is given, by an independent program.

A scorer is a Python script, called as ``SCORER TRUTH.star RESULT.star [--map RESULT.mrc --gt TRUTH.mrc]``, that prints
one line of JSON with ``deg_median``, ``within10`` and, for a map, ``fsc05_A``.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.processes import VITREOUS, run_measured
from benchmarks.stacks import Stack
from vitreous.io.star import read_star

OURS = ("median_deg", "within_10_deg", "shift_mean_px")
FROM_SCORER = {"deg_median": "scorer_median_deg", "within10": "scorer_within_10_deg", "fsc05_A": "scorer_fsc05_A"}
"""What is kept of a scorer's JSON, and its name in the records."""


def score(stack: Stack, poses: Path, volume: Path, scorer: Path | None) -> dict[str, float]:
    """Compare poses and a map with the truth.

    Parameters
    ----------
    stack
        What was run on.
    poses, volume
        STAR file and map of the result; what is made to compare lies beside the map.
    scorer
        Judges both again.
    """
    truth = stack.folder / "truth.star"
    some = ("--shared-only",) if _holds_others(stack) else ()
    found = _evaluate("poses", poses, truth, volume.parent, *some)
    figures = {name: float(found[name]) for name in OURS}
    if stack.truth_map is not None:
        figures["resolution_05_A"] = float(_evaluate("map", volume, stack.truth_map, volume.parent)["resolution_05_A"])
    return figures if scorer is None else figures | ask_scorer(scorer, stack, poses, volume)


def ask_scorer(scorer: Path, stack: Stack, poses: Path, volume: Path) -> dict[str, float]:
    """Have poses and a map compared with the truth by another program."""
    maps = ("--map", volume, "--gt", stack.truth_map) if stack.truth_map else ()
    done = run_measured([sys.executable, scorer, stack.folder / "truth.star", poses, *maps])
    found = json.loads(done.output.strip().splitlines()[-1])
    return {ours: float(found[theirs]) for theirs, ours in FROM_SCORER.items() if theirs in found}


def score_known_poses(stack: Stack, out: Path, threads: int, scorer: Path | None) -> dict[str, float]:
    """Reconstruct from the true poses and compare that map with the truth: the best that a run could do."""
    truth = stack.folder / "truth.star"
    words: list[str | Path] = [
        "reconstruct",
        truth,
        *stack.reading,
        "-o",
        out,
        "--threads",
        str(threads),
        "--overwrite",
        "--quiet",
    ]
    run_measured([*VITREOUS, *words])
    if stack.truth_map is None:
        return {}
    found = _evaluate("map", out / "volume.mrc", stack.truth_map, out)
    figures = {"known_05_A": float(found["resolution_05_A"])}
    if scorer is not None:
        figures["known_scorer_fsc05_A"] = ask_scorer(scorer, stack, truth, out / "volume.mrc")["scorer_fsc05_A"]
    return figures


def _holds_others(stack: Stack) -> bool:
    """Tell whether there are particles without a true pose."""
    particles, truth = (read_star(stack.folder / f"{name}.star")["particles"] for name in ("particles", "truth"))
    return len(particles) != len(truth)


def _evaluate(what: str, estimate: Path, truth: Path, folder: Path, *options: str) -> dict[str, Any]:
    file = folder / f"against-truth-{what}.json"
    run_measured([*VITREOUS, "evaluate", what, estimate, "--truth", truth, "--json", file, *options])
    return json.loads(file.read_text())
