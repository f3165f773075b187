"""Benchmark records: written whole, read back, made into tables."""

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitreous.errors import InputError, ResourceError
from vitreous.evaluate.records import (
    BenchmarkRecord,
    current_commit,
    markdown_table,
    measure,
    peak_memory_MB,
    read_records,
    write_record,
)

RECORD = BenchmarkRecord("search-64px", 12.345, 678.9, {"median_deg": 1.23456}, {"seed": 0}, commit="abc1234")


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write_record(RECORD, tmp_path / "results")
    assert path.name == "search-64px.json"
    assert read_records(path.parent) == [RECORD]
    assert list(path.parent.iterdir()) == [path]


def test_a_new_record_replaces_the_old(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path)
    write_record(replace(RECORD, wall_seconds=1.0), tmp_path)
    assert [record.wall_seconds for record in read_records(tmp_path)] == [1.0]


def test_measuring_fills_in_time_machine_and_commit() -> None:
    with measure("nap", length=0.05) as measured:
        time.sleep(0.05)
        measured.quality["rest"] = 1.0
    record = measured.record
    assert record is not None
    assert 0.05 <= record.wall_seconds < 5
    assert record.peak_memory_MB > 10
    assert (record.quality, record.settings) == ({"rest": 1.0}, {"length": 0.05})
    assert record.machine["cores"] >= 1
    assert record.date.endswith("+00:00")
    json.dumps(record.machine)


def test_a_failed_block_leaves_no_record() -> None:
    with pytest.raises(ZeroDivisionError), measure("broken") as measured:
        _ = 1 / 0
    assert measured.record is None


def test_peak_memory_grows_with_use() -> None:
    before = peak_memory_MB()
    held = np.ones(int(before * 1e6) + 50_000_000, dtype=np.uint8)
    assert before + 49 < peak_memory_MB() < before + held.nbytes / 1e6 + 50


def test_the_commit_is_that_of_the_folder(tmp_path: Path) -> None:
    assert current_commit(tmp_path) == "unknown"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout
    assert head.startswith(current_commit(tmp_path))


def test_table() -> None:
    other = BenchmarkRecord("other", 1.0, 10.0, {"fsc": 0.9}, commit="def5678")
    assert markdown_table([RECORD, other]).splitlines() == [
        "| benchmark | median_deg | fsc | seconds | peak MB | commit |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        "| search-64px | 1.235 | – | 12.35 | 679 | abc1234 |",
        "| other | – | 0.9 | 1 | 10 | def5678 |",
    ]
    assert "| search-64px | 0 | 12.35 |" in markdown_table([RECORD], ["seed"])


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b"])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="Use letters, digits"):
        BenchmarkRecord(name, 1.0, 1.0, {})


def test_files_that_are_no_records_are_refused(tmp_path: Path) -> None:
    for text in ("{", '{"name": "x"}', "[1]"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=r"bad\.json.*Remove it"):
            read_records(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be made"):
        write_record(RECORD, tmp_path / "file" / "results")
