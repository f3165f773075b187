"""Ab initio runs under stated conditions, one row each: a stack of known truth, a run, its scores."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.conditions import prepare_stack
from benchmarks.processes import VITREOUS, Finished, run_measured
from benchmarks.rows import ResultFile
from benchmarks.scoring import score, score_known_poses
from benchmarks.stacks import Images, Stack, find_structure, make_map, make_stack
from benchmarks.stages import stage_seconds
from vitreous.errors import VitreousError
from vitreous.simulate.atoms import Atoms, read_atoms

Outcome = tuple[Finished, str, dict[str, float]]
"""What a run took, its verdict, its figures."""

Row = tuple[dict[str, Any], Callable[[], Outcome]]
"""Conditions, and how to find what comes of them."""


@dataclass(frozen=True)
class Cell:
    """One row to come: images, and the options of ``vitreous abinitio`` for them."""

    images: Images
    options: str = ""

    def conditions(self, threads: int) -> dict[str, Any]:
        """Return the settings by which the row is known."""
        return {**asdict(self.images), "options": self.options, "threads": threads}


class Workshop:
    """Makes maps, stacks and scored runs in a work folder.

    Parameters
    ----------
    structures
        Folder of structure files.
    maker, scorer
        Scripts as :func:`benchmarks.stacks.make_stack` and :mod:`benchmarks.scoring` describe them.
    work
        Where maps, stacks and runs lie.
    threads
        Of every run.
    keep
        Keep every stack with its runs; by default they go when the next one is asked for.
    """

    def __init__(
        self, structures: Path, scripts: tuple[Path, Path | None], work: Path, *, threads: int, keep: bool
    ) -> None:
        self.structures, self.work, self.threads, self.keep = structures, work, threads, keep
        self.maker, self.scorer = scripts
        self._last: tuple[Images, Stack, dict[str, float]] | None = None

    def atoms(self, target: str) -> Atoms:
        """Return the atoms of a target."""
        return read_atoms(find_structure(self.structures, target))

    def map(self, target: str, box: int) -> Path:
        """Return the map of a target."""
        out = self.work / "maps" / f"{target}-{box}.mrc"
        return out if out.exists() else make_map(self.atoms(target), box, out)

    def stack(self, images: Images) -> tuple[Stack, dict[str, float]]:
        """Return a stack, and how well its map is known from the true poses; nothing where no particle is there."""
        if self._last is not None and self._last[0] == images:
            return self._last[1:]
        if self._last is not None and not self.keep:
            shutil.rmtree(self.folder(self._last[0]))
        self._last = None
        folder = self.folder(images)
        folder.mkdir(parents=True, exist_ok=True)
        volume = self.map(images.target, images.box)

        def make(drawn: Images) -> Stack:
            made = folder / "made"
            if made.exists():
                return Stack(made, volume, self.maker.name)
            settings = {"n": drawn.n, "snr": drawn.snr, "shift": drawn.shift, "seed": drawn.seed}
            return make_stack(self.maker, volume, made, settings)

        stack = prepare_stack(images, make, folder / "stack")
        known = {} if images.snr == 0 else score_known_poses(stack, folder / "known", self.threads, self.scorer)
        self._last = images, stack, known
        return stack, known

    def folder(self, images: Images) -> Path:
        """Return where a stack and all that is made with it lies."""
        return self.work / "-".join(str(value).replace(" ", "_") for value in asdict(images).values())

    def run(self, cell: Cell) -> Outcome:
        """Run and score a cell: what it took, the verdict, the figures."""
        stack, known = self.stack(cell.images)
        run = self.folder(cell.images) / "run"
        words: list[str | Path] = [
            "abinitio",
            stack.folder / "particles.star",
            *stack.reading,
            *cell.options.split(),
            "-o",
            run,
        ]
        words += ["--seed", str(cell.images.seed), "--threads", str(self.threads), "--overwrite", "--quiet"]
        done = run_measured([*VITREOUS, *words])
        figures = score(stack, run / "particles.star", run / "volume.mrc", self.scorer)
        times = stage_seconds(run, done.wall_seconds)
        return done, json.loads((run / "summary.json").read_text())["verdict"], figures | known | times


def cell_rows(cells: Iterable[Cell], workshop: Workshop) -> Iterator[Row]:
    """The row of every cell."""
    for cell in cells:
        yield cell.conditions(workshop.threads), partial(workshop.run, cell)


def run_rows(name: str, rows: Sequence[Row], results: ResultFile, *, at_most_minutes: float) -> None:
    """Find the outcome of every row that has none yet, until the time is up: nothing begins after that.

    A row that fails says so, and is tried again by the next call.
    """
    results.plan(name, [conditions for conditions, _ in rows])
    started = time.monotonic()
    for conditions, find in rows:
        if results.has(conditions) or time.monotonic() - started > 60 * at_most_minutes:
            continue
        try:
            done, verdict, figures = find()
        except (OSError, RuntimeError, ValueError, VitreousError) as error:
            results.fail(name, conditions, str(error)[-300:])
            print(f"{conditions}: {error}", flush=True)
            continue
        results.add(name, done, {**conditions, "verdict": verdict}, figures)
        error_deg = f", {figures['median_deg']:.2f}°" if "median_deg" in figures else ""
        print(f"{conditions}: {verdict}{error_deg}, {done.wall_seconds:.0f} s", flush=True)
