"""What benchmarks that simulate stacks and run commands on them have in common: options, runs, and their table."""

import argparse
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.processes import VITREOUS, Finished, run_measured
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from benchmarks.trials import Row, run_rows


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that all of them take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of stacks and runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--append", action="store_true", help="keep the rows that are there and add those that miss")
    parser.add_argument("--at-most-minutes", type=float, default=float("inf"), help="begin no run after that")
    parser.add_argument("--work", type=Path, help="folder for stacks and runs, kept; a temporary one by default")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


class Bench(ABC):
    """Simulated stacks, and runs on them.

    Parameters
    ----------
    given
        Options of the command.
    work
        Folder for stacks and runs.
    """

    def __init__(self, given: argparse.Namespace, work: Path) -> None:
        self.given, self.work = given, work

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Every run, seed by seed."""

    def run(self, words: Sequence[object]) -> Finished:
        """Run a command of vitreous that writes a folder, with the threads that are given, and measure it."""
        return run_vitreous(words, self.given.threads)


def run_command(name: str, given: argparse.Namespace, rows: Callable[[Path], Iterable[Row]]) -> None:
    """Run the rows that ``rows`` makes for a work folder, write ``results/NAME.json`` and print its table."""
    results = ResultFile(given.results / f"{name}.json", append=given.append)
    with tempfile.TemporaryDirectory(prefix="vitreous-bench-") as temporary:
        run_rows(name, list(rows(given.work or Path(temporary))), results, at_most_minutes=given.at_most_minutes)
    print("\n" + section(name, results.records))


def run_vitreous(words: Sequence[object], threads: int) -> Finished:
    """Run a command of vitreous that writes a folder, and measure it."""
    return run_measured([*VITREOUS, *map(str, words), "--threads", str(threads), "--overwrite", "--quiet"])
