"""Result files: lists of benchmark records as JSON, written row by row so that a stopped run keeps what it measured.

A row's conditions are in its settings, and so is the ``verdict`` that came out. A row that was planned and not reached
says ``not run`` there, one whose command failed ``error``.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.processes import Finished
from vitreous.evaluate.records import BenchmarkRecord, current_commit, describe_machine
from vitreous.io.atomic import atomic_path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


NOT_RUN, ERROR = "not run", "error"
"""Verdicts of rows without figures."""

Conditions = Mapping[str, Any]


class ResultFile:
    """A file of records that grows by one row at a time.

    Parameters
    ----------
    path
        The file.
    append
        Keep the rows that are there; by default the first row of this run replaces them all.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self.path = path
        self.records: list[BenchmarkRecord] = read_rows(path) if append and path.exists() else []
        self._commit = commit_of_the_code()
        self._machine = {name: value for name, value in describe_machine().items() if name != "threads"}

    def add(
        self, name: str, finished: Finished, settings: Mapping[str, Any], quality: Mapping[str, float] | None = None
    ) -> BenchmarkRecord:
        """Append what a command took and what it gave; the peak memory is the anonymous one."""
        times = {"cpu_seconds": round(finished.cpu_seconds, 2), "resident_MB": round(finished.resident_MB)}
        record = BenchmarkRecord(
            name=name,
            wall_seconds=round(finished.wall_seconds, 3),
            peak_memory_MB=round(finished.anonymous_MB, 1),
            quality={**times, **{key: round(value, 5) for key, value in (quality or {}).items()}},
            settings=dict(settings),
            commit=self._commit,
            machine=self._machine,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._put(record, record.settings)
        return record

    def has(self, conditions: Conditions) -> bool:
        """Tell whether there are figures for these conditions."""
        return any(is_measured(record) and _agree(conditions, record.settings) for record in self.records)

    def plan(self, name: str, cells: Iterable[Conditions]) -> None:
        """Write a row without figures for every cell that has none."""
        for cell in cells:
            if not self.has(cell):
                self._put(self._empty(name, cell, NOT_RUN), cell)

    def fail(self, name: str, conditions: Conditions, why: str) -> None:
        """Write down that the command failed under these conditions."""
        self._put(self._empty(name, {**conditions, "why": why}, ERROR), conditions)

    def _put(self, record: BenchmarkRecord, settings: Conditions) -> None:
        """Put a row in the place of one without figures whose conditions these settings meet, or at the end."""
        for place, earlier in enumerate(self.records):
            if not is_measured(earlier) and _agree(conditions_of(earlier), settings):
                self.records[place] = record
                break
        else:
            self.records.append(record)
        self._write()

    def _empty(self, name: str, conditions: Conditions, verdict: str) -> BenchmarkRecord:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        settings = {**conditions, "verdict": verdict}
        return BenchmarkRecord(name, 0.0, 0.0, {}, settings, self._commit, self._machine, now)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as part:
            part.write_text(json.dumps([asdict(record) for record in self.records], indent=1) + "\n")


def is_measured(record: BenchmarkRecord) -> bool:
    """Tell whether a row has figures."""
    return record.settings.get("verdict") not in (NOT_RUN, ERROR)


def conditions_of(record: BenchmarkRecord) -> dict[str, Any]:
    """Return the settings of a row without figures that were chosen, not found."""
    return {name: value for name, value in record.settings.items() if name not in ("verdict", "why")}


def _agree(conditions: Conditions, settings: Conditions) -> bool:
    return all(name in settings and settings[name] == value for name, value in conditions.items())


def read_rows(path: Path) -> list[BenchmarkRecord]:
    """Read a result file."""
    return [BenchmarkRecord(**row) for row in json.loads(path.read_text())]


def commit_of_the_code() -> str:
    """Commit that runs; ``-dirty`` where the code differs from it, whatever results or pages do."""
    commit = current_commit(ROOT)
    code = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", "src", "benchmarks/*.py", "pyproject.toml"]
    is_clean = commit != "unknown" and subprocess.run(code, check=False).returncode == 0
    return commit.removesuffix("-dirty") if is_clean else commit
