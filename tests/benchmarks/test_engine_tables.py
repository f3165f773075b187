"""Tables of the engine: what counts as a success, what is counted, how growth is measured."""

import math

import pytest
from benchmarks.engine_tables import cost_columns, exponent, is_success, sweep
from benchmarks.tables import section

from tests.benchmarks.test_tables import record
from vitreous.evaluate.records import BenchmarkRecord

SOLVED = {"median_deg": 1.0, "resolution_05_A": 10.5, "known_05_A": 10.0}


def run(verdict: str, seed: int = 1, seconds: float = 60.0, **found: float) -> BenchmarkRecord:
    known = {"target": "4v5a", "n": 5000, "snr": 0.1, "condition": "plain", "box": 64, "options": "", "threads": 2}
    return record("engine-targets", seconds, {"cpu_seconds": seconds - 1, **found}, **known, seed=seed, verdict=verdict)


@pytest.mark.parametrize(
    ("change", "succeeds"),
    [
        ({}, True),
        ({"median_deg": 2.0}, False),
        ({"resolution_05_A": 11.1}, False),
        ({"scorer_median_deg": 50.0}, False),
        ({"median_deg": 50.0, "scorer_median_deg": 1.0}, True),
        ({"scorer_fsc05_A": 12.0, "known_scorer_fsc05_A": 10.0}, False),
        ({"resolution_05_A": 20.0, "scorer_fsc05_A": 10.9, "known_scorer_fsc05_A": 10.0}, True),
    ],
)
def test_success_needs_poses_and_map_and_the_scorer_decides(change: dict[str, float], succeeds: bool) -> None:
    assert is_success(run("solved", **SOLVED | change)) is succeeds


def test_without_the_best_possible_map_nothing_succeeds() -> None:
    assert not is_success(run("solved", median_deg=1.0, resolution_05_A=10.0))
    assert not is_success(run("error"))


def test_verdicts_are_counted_apart_for_successes_and_failures() -> None:
    lost = SOLVED | {"median_deg": 90.0}
    rows = [
        run("solved", 1, 50.0, **SOLVED),
        run("ambiguous", 2, 70.0, **SOLVED),
        run("solved", 3, 60.0, **lost),
        run("failed", 4, 60.0, **lost),
        run("error", 5),
        run("not run", 6),
    ]
    text = section("engine-targets", rows)
    assert "| 4v5a | 2 / 5 | 1 of 2 | 1 of 3 | 45.5 | 60 | 59 | 100 |\n" in text
    assert "Planned and not run: 1. Ended with an error, which counts as a failure: 1." in text
    assert "| 4v5a | 6 | not run | – | – | – | – | – | – |\n" in text


def test_conditions_that_differ_have_rows_of_their_own_and_a_sum() -> None:
    noisy = run("failed", **SOLVED | {"median_deg": 90.0})
    noisy.settings["snr"] = 0.01
    lines = section("engine-low-snr", [run("solved", **SOLVED), noisy]).splitlines()
    assert any(line.startswith("| target | SNR | successes / runs |") for line in lines)
    assert "| 4v5a | 0.1 | 1 / 1 | 1 of 1 | 0 of 0 | 1 | 60 | 59 | 100 |" in lines
    assert "| 4v5a | 0.01 | 0 / 1 | 0 of 0 | 0 of 1 | 90 | 60 | 59 | 100 |" in lines
    assert "| all |  | 1 / 2 | 1 of 1 | 0 of 1 | 45.5 | 60 | 59 | 100 |" in lines


def test_exponents_are_those_of_powers() -> None:
    assert exponent([1.0, 2.0, 5.0], [3.0, 12.0, 75.0]) == pytest.approx(2.0)
    assert exponent([1.0, 2.0, 5.0], [3.0, math.nan, 75.0]) == pytest.approx(2.0)
    assert math.isnan(exponent([1.0, 2.0], [3.0, math.nan]))


def cost(n: int, box: int, seconds: float, verdict: str = "solved") -> BenchmarkRecord:
    found = {"search_s": seconds / 2, "global_s": 1.0} if verdict == "solved" else {}
    return record("engine-cost", seconds, found, n=n, box=box, seed=1, verdict=verdict)


def test_growth_is_measured_along_one_setting() -> None:
    rows = [cost(1000, 64, 10.0), cost(4000, 64, 20.0), cost(16_000, 64, 0.0, "not run"), cost(1000, 128, 40.0)]
    assert [r.settings["n"] for r in sweep(rows, "n", "box")] == [1000, 4000, 16_000]
    assert [r.settings["box"] for r in sweep(rows, "box", "n")] == [64, 128]
    titles = [column.title for column in cost_columns(rows)]
    assert titles == ["stochastic search, s", "global search, first round, s", "whole run, s", "anonymous MB"]
    text = section("engine-cost", rows)
    assert "| exponent of the images |  |  |  | 0.5 | 0 | 0.5 | 0 |\n" in text
    assert "| exponent of the box px |  |  |  | 2 | 0 | 2 | 0 |\n" in text
    assert "| 16,000 | 64 | 1 | not run | – | – | – | – |\n" in text


def test_peers_say_how_far_they_came() -> None:
    known = {"target": "4v5a", "n": 5000, "snr": 0.1, "box": 64, "threads": 2, "seed": 1, "minutes": 10.0}
    killed = record("engine-peers", 600.0, {"iterations": 85.0, "median_deg": 9.3}, **known, program="relion")
    killed.settings["verdict"] = "killed"
    lines = section("engine-peers", [killed]).splitlines()
    assert "| relion | 4v5a | 5,000 | 0.1 | 64 | 2 | 1 | 10.0 | killed | 85 | 9.3 | 600 | 100 |" in lines
