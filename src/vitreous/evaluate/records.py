"""Benchmark records: what was measured, where, on which commit, and the tables made from them."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vitreous.compute.memory import peak_memory_MB
from vitreous.compute.processor import processor_name
from vitreous.errors import InputError, ResourceError
from vitreous.io.atomic import atomic_path
from vitreous.typing import PathLike


@dataclass(frozen=True)
class BenchmarkRecord:
    """One measurement.

    Attributes
    ----------
    name
        Name of the benchmark and of its file; letters, digits, ``-``, ``_`` and ``.``.
    wall_seconds, peak_memory_MB
        Wall time of what was measured, peak resident memory of the process.
    quality
        Figures of quality by name, with their unit in the name.
    settings
        What defines the run: size, SNR, seed, threads, method …
    commit, machine, date
        Where and when; filled in by :func:`measure`.
    """

    name: str
    wall_seconds: float
    peak_memory_MB: float
    quality: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit: str = "unknown"
    machine: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""

    def __post_init__(self) -> None:
        """Refuse names that are not file names."""
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name.startswith("."):
            raise InputError(
                "a benchmark's name is not a file name",
                found=repr(self.name),
                remedy="Use letters, digits, '-', '_' and '.'",
            )


@dataclass
class Measurement:
    """What a measured block fills in: figures of quality and settings."""

    quality: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    record: BenchmarkRecord | None = None
    """Set when the block has ended."""


@contextmanager
def measure(name: str, **settings: Any) -> Iterator[Measurement]:
    """Time a block and leave its record in the measurement.

    >>> with measure("sum", terms=1000) as measured:
    ...     measured.quality["sum"] = float(sum(range(1000)))
    >>> measured.record.quality
    {'sum': 499500.0}
    """
    measured = Measurement(settings=dict(settings))
    start = time.perf_counter()
    yield measured
    measured.record = BenchmarkRecord(
        name=name,
        wall_seconds=time.perf_counter() - start,
        peak_memory_MB=peak_memory_MB(),
        quality=measured.quality,
        settings=measured.settings,
        commit=current_commit(),
        machine=describe_machine(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_record(record: BenchmarkRecord, folder: PathLike) -> Path:
    """Write ``folder/NAME.json`` in one step; an earlier record of the same name is replaced.

    Raises
    ------
    ResourceError
        If the folder cannot be written.
    """
    path = Path(folder) / f"{record.name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            "the folder of benchmark records cannot be made",
            found=error.strerror,
            path=folder,
            remedy="Name a folder that can be written",
        ) from error
    with atomic_path(path) as part:
        part.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    return path


def read_records(folder: PathLike) -> list[BenchmarkRecord]:
    """Read all records of a folder, by name.

    Raises
    ------
    InputError
        If a file is not a record.
    """
    records = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            records.append(BenchmarkRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise InputError(
                "this is not a benchmark record", path=path, remedy="Remove it or write it anew"
            ) from error
    return records


def markdown_table(records: Iterable[BenchmarkRecord], columns: Sequence[str] = ()) -> str:
    """Return a Markdown table with the settings and figures named in ``columns`` (all figures by default)."""
    rows = list(records)
    names = list(columns) or list(dict.fromkeys(key for row in rows for key in row.quality))
    header = ["benchmark", *names, "seconds", "peak MB", "commit"]
    lines = [header, ["---", *["---:"] * (len(header) - 2), "---"]]
    for row in rows:
        known = {**row.settings, **row.quality}
        figures = [_cell(known[name]) if name in known else "–" for name in names]
        lines.append([row.name, *figures, _cell(row.wall_seconds), f"{row.peak_memory_MB:.0f}", row.commit])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def current_commit(folder: PathLike | None = None) -> str:
    """Short hash of the commit that runs, with ``-dirty`` where files differ from it; ``"unknown"`` outside git."""
    where = Path(__file__).parent if folder is None else Path(folder)
    command = ["git", "-C", str(where), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, threads, memory, GPU and the versions that decide speed."""
    import torch

    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_GB": round(pages / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
