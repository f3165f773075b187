"""The page of benchmarks, made from the committed results.

python -m benchmarks.tables            write docs/benchmarks.md
python -m benchmarks.tables --check    compare only; exit code 1 where the page is out of date
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.engine_tables import ENGINE_TABLES
from benchmarks.markdown import Records, figures, grouped, known_columns, settings, table
from benchmarks.motion_tables import MOTION_TABLES
from benchmarks.rows import RESULTS, ROOT, read_rows
from vitreous.evaluate.records import BenchmarkRecord

PAGE = ROOT / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

*Made by `python -m benchmarks.tables` from `benchmarks/results/*.json`; edit those, not this page.*

Every row of the results holds its commit, machine, settings, wall time, processor time and peak memory. Memory is
*anonymous* memory: what a process holds that is no copy of a file, read every 0.02 s while it runs. To measure on your
own machine, `make bench`, or one of its steps:

    python -m benchmarks.kernels
    python -m benchmarks.reconstruct
    python -m benchmarks.abinitio phantom --recipe phantom-demo
    python -m benchmarks.tables

`python -m benchmarks.engine --help`, and the same of `benchmarks.peers` and `benchmarks.estep`, say how the tables of
the engine are made, `python -m benchmarks.motions --help` and the same of `benchmarks.parity`, `benchmarks.flexibility`
and `benchmarks.rough_poses` how those of motions and of poses that are learned with them; those take hours.
`python -m benchmarks.hash_grid` takes minutes. RELION is compared with where it is installed. `vitreous benchmark`
lists tables that come with the package, and `vitreous benchmark NAME -o DIR` runs one.
"""


def page(results: Path) -> str:
    """Return the text of the page."""
    files = sorted(results.glob("*.json"), key=lambda path: (_order(path.stem), path.stem))
    parts = [section(path.stem, rows) for path in files if (rows := read_rows(path))]
    return "\n".join([INTRODUCTION, *parts])


def section(stem: str, records: Records) -> str:
    """Return the heading, the tables and the circumstances of one result file."""
    title, body = _layout(stem)
    return f"## {title}\n\n{body(records)}\n{circumstances(records)}"


def circumstances(records: Records) -> str:
    """Say where, when and on which commit."""
    machines = sorted({_machine(record) for record in records})
    commits = sorted({record.commit for record in records})
    days = sorted({record.date[:10] for record in records})
    return f"*{'; '.join(machines)}. {' to '.join(dict.fromkeys((days[0], days[-1])))}, commit {', '.join(commits)}.*\n"


def kernels_table(records: Records) -> str:
    """Figures of the hot loops."""
    header = ["kernel", "box px", "threads", "median", "best of the rounds", "unit"]
    rows = []
    for record in records:
        unit = next(name for name in ("ns_per_sample", "gflop_per_s") if name in record.quality)
        name = "ns per sample" if unit == "ns_per_sample" else "GFLOP/s"
        rows.append([record.name, *settings(record, "box", "threads"), *figures(record, (unit, f"best_{unit}")), name])
    return table(header, rows)


def hash_grid_table(records: Records) -> str:
    """Rates of both passes, and of their reads beside a plain copy."""
    columns = {
        "forward_per_s": "forward, points/s",
        "backward_per_s": "backward, points/s",
        "forward_over_copy": "reads over a plain copy",
        "backward_over_copy": "sums of gradients over it",
        "copy_GB_per_s": "plain copy, GB/s",
    }
    first = records[0].settings
    names = ("device", "threads", "levels", "points")
    rows = [[*settings(record, *names), *figures(record, columns)] for record in records]
    return (
        f"Points drawn uniformly in the cube; {first['features']} features in each of 2^{first['log2_entries']} entries"
        f" of a level, {first['base']} to {first['finest']} cells along the cube. A point reads eight vertices of every"
        " level, and its gradient is added to as many; those bytes per second are compared with what a plain copy of"
        " 256 MB reads and writes in a second, on the same threads.\n\n" + table([*names, *columns.values()], rows)
    )


def reconstruct_table(records: Records) -> str:
    """Simulation, reconstruction beside RELION, and growth of memory."""
    simulated = [r for r in records if r.name == "vitreous-simulate"]
    rest = [r for r in records if r.name != "vitreous-simulate"]
    return "\n".join([_simulation(simulated), _reconstructions(rest), *_growth(rest)])


def _simulation(records: Records) -> str:
    header = [
        "simulation",
        "images",
        "box px",
        "threads",
        "runs",
        "images/s",
        "images/s after the start of the process",
    ]
    rows = [
        [
            same[0].name,
            *settings(same[0], "n", "box", "threads"),
            str(len(same)),
            *(f"{_median(r.quality[key] for r in same):.0f}" for key in ("images_per_s", "images_per_s_after_start")),
        ]
        for same in grouped(records, "repetition")
    ]
    return table(header, rows)


def _reconstructions(records: Records) -> str:
    header = ["reconstruction", "images", "box px", "threads", "runs", "median s", "processor s", "anonymous MB"]
    header += ["Å at FSC 0.5 to the truth", "RELION's time over this, pair by pair"]
    rows = [
        [
            same[0].name,
            *settings(same[0], "n", "box", "threads"),
            str(len(same)),
            f"{_median(r.wall_seconds for r in same):.1f}",
            f"{_median(r.quality['cpu_seconds'] for r in same):.1f}",
            f"{max(r.peak_memory_MB for r in same):.0f}",
            f"{_median(r.quality['resolution_05_A'] for r in same):.2f}",
            ", ".join(f"{ratio:.2f}" for ratio in ratios(same, records)) or "–",
        ]
        for same in grouped(records, "repetition")
    ]
    return table(header, rows)


def ratios(mine: Records, records: Records) -> list[float]:
    """Time of RELION over the time of vitreous, for each repetition on the same images."""
    if not mine[0].name.startswith("vitreous"):
        return []
    theirs = {(r.settings["n"], r.settings["repetition"]): r for r in records if r.name.startswith("relion")}
    pairs = [(theirs.get((r.settings["n"], r.settings["repetition"])), r) for r in mine]
    return [relion.wall_seconds / r.wall_seconds for relion, r in pairs if relion is not None]


def _growth(records: Records) -> list[str]:
    """Say how the memory of one thread grows from the fewest to the most images."""
    ours = sorted((r for r in records if r.name.startswith("vitreous")), key=lambda r: r.settings["n"])
    ours = [r for r in ours if r.settings["threads"] == 1]
    if not ours or ours[0].settings["n"] == ours[-1].settings["n"]:
        return []
    few, many = ours[0], ours[-1]
    growth = many.peak_memory_MB - few.peak_memory_MB
    sizes = f"{few.settings['n']:,} to {many.settings['n']:,}"
    return [f"From {sizes} images the peak of anonymous memory on one thread changes by {growth:+.0f} MB.\n"]


def abinitio_table(records: Records) -> str:
    """One row per seed."""
    columns = {
        "median_deg": "median error °",
        "within_10_deg": "within 10°",
        "shift_mean_px": "shift error px",
        "resolution_05_A": "Å at FSC 0.5 to the truth",
        "scorer_median_deg": "median error °, independent",
        "scorer_within_10_deg": "within 10°, independent",
        "scorer_fsc05_A": "Å at FSC 0.5, independent",
    }
    known = known_columns(columns, records)
    several = any("options" in record.settings for record in records)
    header = ["images by", "images", "box px", "threads", *(["options"] if several else []), "seed", "verdict"]
    header += known.values()
    rows = [
        [
            *settings(record, "stack", "n", "box", "threads"),
            *([record.settings.get("options", "–")] if several else []),
            *settings(record, "seed", "verdict"),
            *figures(record, known),
            f"{record.wall_seconds:.0f}",
            f"{record.peak_memory_MB:.0f}",
        ]
        for record in records
    ]
    return table([*header, "s", "anonymous MB"], rows)


NETWORK_COLUMNS = {
    "fnorm_mean": "mean F-norm",
    "fnorm_median": "median F-norm",
    "median_deg": "median error °",
    "shift_px": "shift error px of 128",
    "images_per_s": "images/s",
    "gflop_per_image": "GFLOP per image",
    "share_of_gemm": "share of a 4096³ product's rate",
}


def network_table(records: Records) -> str:
    """One row per run or condition: every setting, then the figures that there are."""
    names = list(dict.fromkeys(name for record in records for name in record.settings))
    known = known_columns(NETWORK_COLUMNS, records)
    header = [*(name.replace("_", " ") for name in names), *known.values(), "processor s"]
    rows = [
        [*settings(record, *names), *figures(record, known), f"{record.quality['cpu_seconds']:.0f}"]
        for record in records
    ]
    return table(header, rows)


def _layout(stem: str) -> tuple[str, Callable[[Records], str]]:
    if stem == "kernels":
        return "Kernels", kernels_table
    if stem == "hash-grid":
        return "Hash grid", hash_grid_table
    if stem == "reconstruct":
        return "Simulation, and reconstruction with known poses", reconstruct_table
    if stem.startswith("abinitio-"):
        return f"Ab initio: {stem.removeprefix('abinitio-')}", abinitio_table
    if stem.startswith("pose-network-"):
        return f"Pose network: {stem.removeprefix('pose-network-')}", network_table
    named = MOTION_TABLES | ENGINE_TABLES
    if stem in named:
        return named[stem]
    known = ["kernels", "hash-grid", "reconstruct", "abinitio-NAME", "pose-network-NAME", *named]
    message = f"no table is known for {stem}.json: name it {', '.join(known)}"
    raise ValueError(message)


def _order(stem: str) -> int:
    return next((i for i, start in enumerate(("engine", "abinitio", "reconstruct")) if stem.startswith(start)), 3)


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _machine(record: BenchmarkRecord) -> str:
    m = record.machine
    gpu = f", {m['gpu']}" if m["gpu"] else ""
    return f"{m['processor']}, {m['cores']} cores{gpu}, {m['memory_GB']} GB; python {m['python']}, torch {m['torch']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    text = page(RESULTS)
    if not parser.parse_args().check:
        PAGE.write_text(text)
        return 0
    is_current = PAGE.exists() and PAGE.read_text() == text
    if not is_current:
        print(f"{PAGE} is out of date: run python -m benchmarks.tables", file=sys.stderr)
    return 0 if is_current else 1


if __name__ == "__main__":
    sys.exit(main())
