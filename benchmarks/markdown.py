"""Markdown tables of benchmark records."""

from collections.abc import Mapping, Sequence

from vitreous.evaluate.records import BenchmarkRecord

Records = Sequence[BenchmarkRecord]

NO_FIGURE = "–"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def settings(record: BenchmarkRecord, *names: str) -> list[str]:
    """Return some settings as text."""
    values = [record.settings[name] for name in names]
    return [f"{value:,}" if isinstance(value, int) else str(value) for value in values]


def figures(record: BenchmarkRecord, names: Mapping[str, str] | Sequence[str]) -> list[str]:
    """Return some figures of quality with three digits."""
    return [f"{record.quality[name]:.3g}" if name in record.quality else NO_FIGURE for name in names]


def known_columns(columns: Mapping[str, str], records: Records) -> dict[str, str]:
    """Return the columns for which a record has a figure."""
    return {name: title for name, title in columns.items() if any(name in record.quality for record in records)}


def grouped(records: Records, *apart: str) -> list[list[BenchmarkRecord]]:
    """Records whose settings are the same but for those named, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[BenchmarkRecord]] = {}
    for record in records:
        fixed = sorted((name, value) for name, value in record.settings.items() if name not in apart)
        groups.setdefault((record.name, *fixed), []).append(record)
    return list(groups.values())
