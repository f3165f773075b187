"""The top of the page: the verdict in plain words, the numbers that matter, the warnings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitreous.report.folder import RunFiles

_VERDICTS = {
    "solved": ("good", "Solved", "The particles agree on one map."),
    "ambiguous": (
        "caution",
        "Ambiguous",
        "Other answers are not ruled out; the warnings say why. Treat this map as a proposal.",
    ),
    "failed": ("bad", "Not solved", "The particles do not agree on a map. Do not interpret the density."),
    "done": ("neutral", "Done", "The computation ran to its end; there was nothing to judge."),
}


@dataclass(frozen=True)
class Verdict:
    """Colour class, short word and one sentence."""

    tone: str
    word: str
    sentence: str


def verdict_of(files: RunFiles) -> Verdict:
    """Return the verdict of a run's summary in plain words."""
    if files.run.summary is None:
        return Verdict("caution", "Not finished", "The run has not written its summary yet, or it was stopped.")
    word = str(files.run.summary.get("verdict", "done"))
    tone, title, sentence = _VERDICTS.get(word, ("neutral", word.capitalize(), ""))
    return Verdict(tone, title, f"{sentence} {_shared(files.run.summary)}".strip())


def _shared(summary: Mapping[str, Any]) -> str:
    shared_A = summary.get("independent_beyond_A")
    if not _is_number(shared_A):
        return ""
    return (
        f"Both halves of the particles began with the same, cut off at {shared_A:.0f} Å: their FSC is gold standard "
        "beyond that resolution only."
    )


def key_numbers(files: RunFiles) -> list[tuple[str, str, str]]:
    """Return ``(number, unit, label)`` for each number of the headline that is known."""
    summary = files.run.summary or {}
    found: list[tuple[str, str, str]] = []
    if _is_number(summary.get("resolution_A")):
        found.append((f"{summary['resolution_A']:.2f}", "Å", "resolution"))
    if isinstance(summary.get("symmetry"), str):
        found.append((summary["symmetry"], "", "point group"))
    count = summary.get("particles", max(map(len, files.particles.values()), default=None))
    if _is_number(count):
        found.append((f"{int(count):,}".replace(",", "\u202f"), "", "particles"))
    if _is_number(summary.get("seconds")):
        found.append((*duration(float(summary["seconds"])), "time"))
    if _is_number(summary.get("peak_memory_MB")):
        found.append((*memory(float(summary["peak_memory_MB"])), "peak memory"))
    return found


def warnings_of(files: RunFiles) -> list[str]:
    """Return the warnings of a run's summary."""
    return [str(warning) for warning in (files.run.summary or {}).get("warnings") or []]


def duration(seconds: float) -> tuple[str, str]:
    """Return a time in words: ``("42", "s")``, ``("3 min 05", "s")``, ``("2 h 07", "min")``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g}" if seconds < 10 else str(whole), "s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d}", "s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}", "min"


def memory(megabytes: float) -> tuple[str, str]:
    """Return an amount of memory in MB or GB."""
    return (f"{megabytes / 1000:.1f}", "GB") if megabytes >= 1000 else (f"{megabytes:.0f}", "MB")


def file_size(size_bytes: int) -> str:
    """Return a size in kB, MB or GB."""
    if size_bytes < 1e6:
        return f"{max(size_bytes / 1e3, 0.1):.1f} kB"
    return " ".join(memory(size_bytes / 1e6))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
