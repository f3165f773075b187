"""Seconds of the stages of an ab initio run, from the times in its log."""

import json
from itertools import pairwise
from pathlib import Path

STAGES = {
    "reading_s": "reading, diameter",
    "search_s": "stochastic search",
    "global_s": "global search, first round",
    "rounds_s": "further rounds",
    "final_s": "final maps, report, Python's start",
}
"""Names of the figures, and what the tables call them."""


def stage_seconds(run: Path, wall_seconds: float) -> dict[str, float]:
    """Split the wall time of a run of ``--method search``; nothing where the log does not tell.

    The log has a line at the end of every stochastic iteration and of every refinement round, with the seconds since
    the command began. What lies between the last iteration and the end of the first round is the comparison of both
    starts, the global search and that round. The last stage has what the log does not see: what Python needs to start.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    searched = [line["seconds"] for line in lines if str(line.get("stage", "")).startswith("start ")]
    refined = [line["seconds"] for line in lines if line.get("stage") == "refinement"]
    if len(searched) < 2 or not refined:
        return {}
    first = 2 * searched[0] - searched[1]  # the first iteration is taken to last as long as the second
    bounds = [0.0, first, searched[-1], refined[0], refined[-1], wall_seconds]
    return dict(zip(STAGES, (later - earlier for earlier, later in pairwise(bounds))))
