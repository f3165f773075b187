"""Tables say what the results say, and the committed page is the one that the committed results give."""

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.processes import Finished
from benchmarks.rows import RESULTS, ResultFile, read_rows
from benchmarks.tables import PAGE, page, ratios, section

from vitreous.evaluate.records import BenchmarkRecord

MACHINE = {"processor": "Abacus", "cores": 2, "memory_GB": 4.0, "gpu": None, "python": "3.11.0", "torch": "2.0.0"}


def record(name: str, seconds: float, quality: dict[str, float], **settings: object) -> BenchmarkRecord:
    date = "2026-01-02T03:04:05+00:00"
    return BenchmarkRecord(name, seconds, 100.0, quality, settings, commit="abc1234", machine=MACHINE, date=date)


def reconstruction(name: str, seconds: float, n: int = 20_000, repetition: int = 1) -> BenchmarkRecord:
    quality = {"cpu_seconds": seconds - 1, "resolution_05_A": 8.0}
    return record(name, seconds, quality, n=n, threads=1, repetition=repetition, box=128)


RECONSTRUCTIONS = [
    record(
        "vitreous-simulate",
        50.0,
        {"images_per_s": 800.0, "images_per_s_after_start": 900.0},
        **{"n": 40_000, "threads": 2, "repetition": 1, "box": 128},
    ),
    reconstruction("vitreous-reconstruct", 20.0),
    reconstruction("relion_reconstruct", 60.0),
    reconstruction("vitreous-reconstruct", 30.0, repetition=2),
    reconstruction("relion_reconstruct", 60.0, repetition=2),
    replace(reconstruction("vitreous-reconstruct", 10.0, n=10_000), peak_memory_MB=90.0),
    replace(reconstruction("vitreous-reconstruct", 40.0, n=40_000), peak_memory_MB=140.0),
]


def test_reconstruction_beside_relion() -> None:
    text = section("reconstruct", RECONSTRUCTIONS)
    assert "| vitreous-simulate | 40,000 | 128 | 2 | 1 | 800 | 900 |\n" in text
    assert "| vitreous-reconstruct | 20,000 | 128 | 1 | 2 | 25.0 | 24.0 | 100 | 8.00 | 3.00, 2.00 |\n" in text
    assert "| relion_reconstruct | 20,000 | 128 | 1 | 2 | 60.0 | 59.0 | 100 | 8.00 | – |\n" in text
    assert "From 10,000 to 40,000 images the peak of anonymous memory on one thread changes by +50 MB." in text
    assert text.endswith("*Abacus, 2 cores, 4.0 GB; python 3.11.0, torch 2.0.0. 2026-01-02, commit abc1234.*\n")


def test_pairs_need_both_programs() -> None:
    ours = [r for r in RECONSTRUCTIONS if r.name == "vitreous-reconstruct" and r.settings["n"] == 20_000]
    assert ratios(ours, RECONSTRUCTIONS) == [3.0, 2.0]
    assert ratios(ours, RECONSTRUCTIONS[:3]) == [3.0]
    assert ratios(ours, ours) == []


def test_kernels() -> None:
    rows = [
        record("slice", 0.1, {"ns_per_sample": 12.345, "best_ns_per_sample": 11.0}, box=128, threads=1),
        record("plain-product", 0.1, {"gflop_per_s": 98.76, "best_gflop_per_s": 100.4}, box=128, threads=1),
    ]
    lines = section("kernels", rows).splitlines()
    assert "| slice | 128 | 1 | 12.3 | 11 | ns per sample |" in lines
    assert "| plain-product | 128 | 1 | 98.8 | 100 | GFLOP/s |" in lines


def test_ab_initio_shows_only_what_was_scored() -> None:
    known = {"stack": "maker.py", "n": 3000, "box": 64, "threads": 2, "verdict": "solved"}
    first = record("abinitio-x", 65.4, {"median_deg": 1.234, "within_10_deg": 0.987}, **known, seed=1)
    second = record("abinitio-x", 70.0, {"median_deg": 2.0, "scorer_median_deg": 2.01}, **known, seed=2)
    rows = [line for line in section("abinitio-x", [first, second]).splitlines() if line.startswith("|")]
    assert rows[0] == (
        "| images by | images | box px | threads | seed | verdict | median error ° | within 10° "
        "| median error °, independent | s | anonymous MB |"
    )
    assert rows[2] == "| maker.py | 3,000 | 64 | 2 | 1 | solved | 1.23 | 0.987 | – | 65 | 100 |"
    assert rows[3] == "| maker.py | 3,000 | 64 | 2 | 2 | solved | 2 | – | 2.01 | 70 | 100 |"


def test_rows_are_written_one_by_one_and_read_back(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "new" / "kernels.json")
    for i in (1, 2):
        file.add("slice", Finished(1.0 * i, 0.9, 10.0, 20.0, ""), {"box": 8, "threads": 1}, {"ns_per_sample": 3.0})
        rows = read_rows(file.path)
        assert rows == file.records
        assert [row.wall_seconds for row in rows] == [1.0, 2.0][:i]
    assert (rows[0].peak_memory_MB, rows[0].quality["resident_MB"], rows[0].commit != "") == (10.0, 20.0, True)


def test_unknown_result_files_are_named() -> None:
    with pytest.raises(ValueError, match=r"odd\.json"):
        section("odd", RECONSTRUCTIONS)


def test_the_page_is_made_from_the_results() -> None:
    assert PAGE.read_text() == page(RESULTS), "run python -m benchmarks.tables"
