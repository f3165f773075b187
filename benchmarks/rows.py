"""Result files: lists of benchmark records as JSON, written row by row so that a stopped run keeps what it measured."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.processes import Finished
from vitreous.evaluate.records import BenchmarkRecord, current_commit, describe_machine
from vitreous.io.atomic import atomic_path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


class ResultFile:
    """A file of records that grows by one row at a time; what an earlier run left there is replaced by the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[BenchmarkRecord] = []
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
        self.records.append(record)
        self._write()
        return record

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as part:
            part.write_text(json.dumps([asdict(record) for record in self.records], indent=1) + "\n")


def read_rows(path: Path) -> list[BenchmarkRecord]:
    """Read a result file."""
    return [BenchmarkRecord(**row) for row in json.loads(path.read_text())]


def commit_of_the_code() -> str:
    """Commit that runs; ``-dirty`` where the code differs from it, whatever results or pages do."""
    commit = current_commit(ROOT)
    code = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", "src", "benchmarks/*.py", "pyproject.toml"]
    is_clean = commit != "unknown" and subprocess.run(code, check=False).returncode == 0
    return commit.removesuffix("-dirty") if is_clean else commit
