"""``vitreous benchmark``: simulated particles, taken to maps or latents from several seeds, scored by truth."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli.context import RunContext
from vitreous.cli.options import Basic
from vitreous.cli.registry import did_you_mean
from vitreous.cli.studies import STUDIES, STUDY_COLUMNS, Study
from vitreous.compute.threads import usable_cores
from vitreous.errors import ConfigError
from vitreous.evaluate.maps import compare_maps
from vitreous.evaluate.poses import compare_poses, match_on_ids
from vitreous.evaluate.records import BenchmarkRecord, current_commit, describe_machine, markdown_table, write_record
from vitreous.io import open_particles
from vitreous.io.maps import read_map
from vitreous.runs.manifest import Manifest, fingerprint
from vitreous.runs.store import RunFolder
from vitreous.simulate.recipes import RECIPES, Recipe

TABLES = ("phantom-demo", "phantom-preferred", "phantom-dark-noise", "ribosome-64")
"""Recipes whose particles are all alike, so that one map and one set of poses are the whole truth."""

RECORDS = "records"
COLUMNS = ("seed", "verdict", "median_deg", "within_10_deg", "shift_mean_px", "resolution_05_A")


@dataclass(frozen=True)
class Benchmark:
    """Run a named table on particles that it simulates: poses and maps ab initio, or settings of a method compared."""

    name: Positional[Annotated[str | None, arg(metavar="NAME")]] = None
    """The table; all are listed when it is not given."""

    output: Annotated[Path | None, arg(aliases=("-o",), metavar="DIR")] = None
    """Folder for the particles, the runs, the records and the table."""

    structure: Path | None = None
    """PDB or mmCIF file of the tables that need one."""

    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the runs; the particles are the same for all."""

    rows: tuple[str, ...] = ()
    """Rows of a table that compares settings; all by default."""

    threads: int | None = None
    """CPU threads; all cores that the process may use when not given."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def __post_init__(self) -> None:
        """Refuse seeds that cannot be."""
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError("--seeds must be numbers from 0 up", found=self.seeds, remedy="Give at least one")

    def run(self, context: RunContext) -> None:
        """Check, run every step as a command of its own, write the records and the table."""
        if self.name is None:
            sys.stdout.write(list_tables())
            return
        study = self._study(self.name)
        recipe = None if study else self._recipe(self.name)
        if self.output is None:
            raise ConfigError("no output folder", remedy="Give -o DIR")
        inputs = [fingerprint(self.structure)] if self.structure is not None else []
        manifest = Manifest(context.name, context.command, context.config, inputs=inputs)
        stack = self.output / "stack"
        with RunFolder.create(self.output, manifest, overwrite=self.common.overwrite) as folder:
            context.say("simulating particles")
            if study:
                study.simulate(stack, self._command)
            elif recipe:
                self._command("simulate", str(self.structure or "phantom"), "--recipe", recipe.name, "-o", str(stack))
        for old in (self.output / RECORDS).glob("*.json"):
            old.unlink()
        if study:
            records = self._compare(study, self.output, stack, context)
        else:
            records = self._reconstruct_all(self.output, stack, context)
        table = markdown_table(records, STUDY_COLUMNS if study else COLUMNS)
        (self.output / "table.md").write_text(table, encoding="utf-8")
        folder.write_summary(_summary(records, time.monotonic() - context.started, context))
        sys.stdout.write(table)

    def _study(self, name: str) -> Study | None:
        """Return the table, with the rows that are wanted, where it compares settings."""
        study = STUDIES.get(name)
        if study is None:
            return None
        if self.structure is not None:
            message = f"the benchmark {name} is for another specimen"
            raise ConfigError(message, expected="the phantom", found=self.structure, remedy="Leave --structure out")
        for row in self.rows:
            if row not in study.rows:
                names = "One of: " + ", ".join(map(repr, study.rows))
                raise ConfigError(f"the benchmark {name} has no row {row!r}", remedy=names)
        return replace(study, rows={row: study.rows[row] for row in self.rows or study.rows})

    def _compare(self, study: Study, out: Path, stack: Path, context: RunContext) -> list[BenchmarkRecord]:
        """Run every row from every seed; the table so far is written after each."""
        records: list[BenchmarkRecord] = []
        for row, seed in study.runs(self.seeds):
            context.say(f"{row}, seed {seed}")
            run = out / f"{re.sub('[^a-z0-9]+', '-', row.lower()).strip('-')}-seed-{seed}"
            quality = study.train(row, seed, stack, run, self._command)
            records.append(self._written(run, quality, {"row": row, "seed": seed}))
            (out / "table.md").write_text(markdown_table(records, STUDY_COLUMNS), encoding="utf-8")
        return records

    def _recipe(self, name: str) -> Recipe:
        """Return the recipe of a table; ConfigError where it does not exist or does not fit --structure."""
        if name not in TABLES:
            remedy = did_you_mean(name, (*TABLES, *STUDIES), "Run vitreous benchmark")
            raise ConfigError(f"there is no benchmark {name!r}", remedy=remedy)
        if self.rows:
            raise ConfigError(f"the benchmark {name} compares no settings", remedy="Leave --rows out")
        recipe = RECIPES[name]
        if (recipe.structure is None) != (self.structure is None):
            raise ConfigError(
                f"the benchmark {name} is for another specimen",
                expected=recipe.structure or "the phantom",
                found=self.structure or "no --structure",
                remedy="Give --structure FILE" if recipe.structure else "Leave --structure out",
            )
        return recipe

    def _reconstruct_all(self, out: Path, stack: Path, context: RunContext) -> list[BenchmarkRecord]:
        """Reconstruct from the true poses, which is the best there can be, then ab initio once per seed."""
        context.say("reconstructing from the true poses")
        known = out / "known-poses"
        self._command("reconstruct", str(stack / "truth.star"), "-o", str(known))
        records = [self._record(known, stack, {})]
        for seed in self.seeds:
            context.say(f"ab initio, seed {seed}")
            run = out / f"seed-{seed}"
            self._command("abinitio", str(stack / "particles.star"), "-o", str(run), "--seed", str(seed))
            records.append(self._record(run, stack, {"seed": seed}))
        return records

    def _command(self, *words: str) -> None:
        """Run a command with the options that all steps share, but for evaluations, which have none of them."""
        if words[0] == "evaluate":
            _require_done([*words])
            return
        flags = [f"--{name}" for name in ("quiet", "overwrite", "debug") if getattr(self.common, name)]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        _require_done([*words, *threads, *flags])

    def _record(self, run: Path, stack: Path, settings: dict[str, Any]) -> BenchmarkRecord:
        """Score a run against the truth and write its record."""
        return self._written(run, score_map(run, stack) | (score_poses(run, stack) if settings else {}), settings)

    def _written(self, run: Path, quality: dict[str, float], settings: dict[str, Any]) -> BenchmarkRecord:
        """Write the record of a run."""
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        record = BenchmarkRecord(
            name=f"{self.name}-{run.name}",
            wall_seconds=float(summary["seconds"]),
            peak_memory_MB=float(summary["peak_memory_MB"]),
            quality=quality,
            settings={**settings, "verdict": summary["verdict"], "threads": self.threads or usable_cores()},
            commit=current_commit(),
            machine=describe_machine(),
            date=Manifest.read(run).started,
        )
        write_record(record, run.parent / RECORDS)
        return record


def _require_done(words: Sequence[str]) -> None:
    if code := run_step(words):
        raise SystemExit(code)  # the step has said why


def run_step(words: Sequence[str]) -> int:
    """Run a command as a process of its own, so that its time and its memory are its own; return its exit code."""
    return subprocess.run([sys.executable, "-m", "vitreous", *words], stdout=subprocess.DEVNULL, check=False).returncode


def list_tables() -> str:
    """Return one line per table."""
    width = max(map(len, (*TABLES, *STUDIES)))
    lines = []
    for name in TABLES:
        recipe = RECIPES[name]
        needs = f"; needs --structure, {recipe.structure}" if recipe.structure else ""
        size = f"{recipe.config.n:,} × {recipe.config.box} px, SNR {recipe.config.snr:g}"
        lines.append(f"{name:<{width}}  {recipe.summary} ({size}{needs})\n")
    lines += [f"{name:<{width}}  {one.summary} ({len(one.rows)} rows)\n" for name, one in STUDIES.items()]
    return "".join(lines)


def score_poses(run: Path, stack: Path) -> dict[str, float]:
    """Errors of a run's poses after the best global rotation, shift and hand."""
    found, truth = (open_particles(f, contrast="bright") for f in (run / "particles.star", stack / "truth.star"))
    rows = match_on_ids(found.ids, truth.ids)
    poses = [p.poses.select(r) for p, r in zip((found, truth), rows) if p.poses is not None]
    errors = compare_poses(poses[0], poses[1], truth.pixel_size_A)
    return {name: getattr(errors, name) for name in ("median_deg", "within_10_deg", "shift_mean_px")}


def score_map(run: Path, stack: Path) -> dict[str, float]:
    """Resolution of a run's map by its FSC with the true one, aligned over rotation, shift and hand."""
    found = compare_maps(read_map(run / "volume.mrc"), read_map(stack / "state_01.mrc"))
    return {"resolution_05_A": found.resolution_05_A}


def _summary(records: list[BenchmarkRecord], seconds: float, context: RunContext) -> dict[str, Any]:
    verdicts = [record.settings["verdict"] for record in records if "seed" in record.settings]
    solved = {} if "row" in records[0].settings else {"solved": verdicts.count("solved")}
    return {
        "verdict": "done",
        "seconds": round(seconds, 2),
        "peak_memory_MB": round(max(record.peak_memory_MB for record in records)),
        "runs": len(verdicts),
        **solved,
        "warnings": list(context.warnings),
    }
