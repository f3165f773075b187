"""Tables of the ab initio engine: what it solves, what it says of it, what it costs, beside whom."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.markdown import NO_FIGURE, Records, figures, grouped, known_columns, settings, table
from benchmarks.rows import ERROR, NOT_RUN, is_measured
from benchmarks.stages import STAGES
from vitreous.evaluate.records import BenchmarkRecord

LARGEST_MEDIAN_DEG = 2.0
LARGEST_OVER_KNOWN = 1.1
"""A run is a success if the median error is below 2°, and FSC 0.5 within 1.1 times that from the true poses."""

CRITERION = (
    "A run is a success if its median error is below 2° and its map reaches FSC 0.5 with the truth within 1.1 times "
    "the resolution of the map from the true poses, both by the independent scorer where there is one.\n"
)

CONDITIONS = {
    "target": "target",
    "condition": "condition",
    "n": "images",
    "snr": "SNR",
    "box": "box px",
    "options": "options",
    "threads": "threads",
}
RUN_COLUMNS = {
    "median_deg": "median error °",
    "scorer_median_deg": "median error °, independent",
    "within_10_deg": "within 10°",
    "resolution_05_A": "Å at FSC 0.5 to the truth",
    "scorer_fsc05_A": "Å at FSC 0.5, independent",
    "known_05_A": "Å with true poses",
    "known_scorer_fsc05_A": "Å with true poses, independent",
}


def is_success(record: BenchmarkRecord) -> bool:
    """Tell whether a run found the poses and the map."""
    found = record.quality
    median = found.get("scorer_median_deg", found.get("median_deg", math.inf))
    pairs = (("scorer_fsc05_A", "known_scorer_fsc05_A"), ("resolution_05_A", "known_05_A"))
    map_A, known_A = next(([found[n] for n in pair] for pair in pairs if all(n in found for n in pair)), (1.0, 0.0))
    return median < LARGEST_MEDIAN_DEG and map_A <= LARGEST_OVER_KNOWN * known_A


def summary_table(records: Records) -> str:
    """One row for all runs that differ in the seed only: how many succeed, and whether the verdict says so."""
    shown = _varying(records)
    header = [*shown.values(), "successes / runs", "of the successes called solved", "of the failures called solved"]
    header += ["median error °", "median s", "median processor s", "anonymous MB"]
    groups = [list(same) for same in grouped(records, "seed", "verdict", "why")]
    rows = [[*settings(same[0], *shown), *_outcome(same)] for same in groups]
    if len(groups) > 1:
        rows.append(["all", *[""] * (len(shown) - 1), *_outcome(records)])
    return f"{CRITERION}\n{table(header, rows)}\n{_missing(records)}"


def runs_table(records: Records) -> str:
    """The summary, then one row per run."""
    shown, known = _varying(records), known_columns(RUN_COLUMNS, records)
    header = [*shown.values(), "seed", "verdict", "success", *known.values(), "s", "anonymous MB"]
    rows = [
        [
            *settings(r, *shown, "seed", "verdict"),
            ("yes" if is_success(r) else "no") if is_measured(r) else NO_FIGURE,
            *figures(r, known),
            *_cost(r),
        ]
        for r in records
    ]
    return f"{summary_table(records)}{table(header, rows)}"


def _varying(records: Records) -> dict[str, str]:
    """Conditions to show: the target, and those that are not the same in all rows."""
    values = {name: {str(r.settings.get(name)) for r in records} for name in CONDITIONS}
    return {name: title for name, title in CONDITIONS.items() if name == "target" or len(values[name]) > 1}


def _outcome(same: Records) -> list[str]:
    runs = [r for r in same if r.settings["verdict"] != NOT_RUN]
    if not runs:
        return [NOT_RUN, *[NO_FIGURE] * 6]
    good, bad = [r for r in runs if is_success(r)], [r for r in runs if not is_success(r)]
    measured = [r for r in runs if is_measured(r)]
    shares = [f"{sum(r.settings['verdict'] == 'solved' for r in part)} of {len(part)}" for part in (good, bad)]
    medians = [
        _median([r.quality["median_deg"] for r in measured], ".3g"),
        _median([r.wall_seconds for r in measured], ".0f"),
        _median([r.quality["cpu_seconds"] for r in measured], ".0f"),
        _median([r.peak_memory_MB for r in measured], ".0f"),
    ]
    return [f"{len(good)} / {len(runs)}", *shares, *medians]


def _missing(records: Records) -> str:
    """Say how many cells have no figures, and why."""
    counts = Counter(r.settings["verdict"] for r in records if not is_measured(r))
    parts = [f"Planned and not run: {counts[NOT_RUN]}."] if counts[NOT_RUN] else []
    parts += [f"Ended with an error, which counts as a failure: {counts[ERROR]}."] if counts[ERROR] else []
    return " ".join(parts) + "\n\n" if parts else ""


def cost_table(records: Records) -> str:
    """Time by stage and memory against the number of images, then against the box, with exponents."""
    sweeps = (sweep(records, "n", "box"), sweep(records, "box", "n"))
    parts = [_sweep_table(rows, name) for rows, name in zip(sweeps, ("n", "box")) if len(rows) > 1]
    figure = "![Time and memory against the number of images and against the box](figures/cost.png)\n"
    return "\n".join([*parts, _missing(records) + figure])


def sweep(records: Records, name: str, fixed: str) -> list[BenchmarkRecord]:
    """Return the rows in which one setting grows while the other has its commonest value, smallest first."""
    values: dict[int, set[int]] = {}
    for record in records:
        values.setdefault(record.settings[fixed], set()).add(record.settings[name])
    commonest = max(values, key=lambda value: len(values[value]))
    return sorted((r for r in records if r.settings[fixed] == commonest), key=lambda r: r.settings[name])


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Return p of ``y ∝ x^p`` by least squares of the logarithms, over the points that have a y; NaN below two."""
    points = [(math.log(a), math.log(b)) for a, b in zip(x, y) if b > 0]
    if len({a for a, _ in points}) < 2:
        return math.nan
    return statistics.linear_regression(*zip(*points)).slope


@dataclass(frozen=True)
class Column:
    """A column of a sweep: what it is, with its unit, and its values, NaN where there is none."""

    title: str
    values: list[float]


def cost_columns(records: Records) -> list[Column]:
    """Return the seconds of each stage, then of the whole run, then its memory."""

    def column(title: str, value: Callable[[BenchmarkRecord], float]) -> Column:
        return Column(title, [value(record) if is_measured(record) else math.nan for record in records])

    stages = [
        Column(f"{title}, s", [record.quality.get(name, math.nan) for record in records])
        for name, title in known_columns(STAGES, records).items()
    ]
    seconds = column("whole run, s", lambda record: record.wall_seconds)
    return [*stages, seconds, column("anonymous MB", lambda record: record.peak_memory_MB)]


def _sweep_table(records: Records, name: str) -> str:
    columns = cost_columns(records)
    header = [CONDITIONS["n"], CONDITIONS["box"], "seed", "verdict", *(column.title for column in columns)]
    rows = [
        [*settings(record, "n", "box", "seed", "verdict"), *(_number(column.values[i]) for column in columns)]
        for i, record in enumerate(records)
    ]
    x = [float(record.settings[name]) for record in records]
    powers = [_number(exponent(x, column.values)) for column in columns]
    return table(header, [*rows, [f"exponent of the {CONDITIONS[name]}", "", "", "", *powers]])


def _number(value: float) -> str:
    if math.isnan(value):
        return NO_FIGURE
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def peers_table(records: Records) -> str:
    """Other programs on the same images with the same threads, for a stated time."""
    columns = {"iterations": "iterations or epochs done", **RUN_COLUMNS}
    known = known_columns(columns, records)
    header = ["program", "target", "images", "SNR", "box px", "threads", "seed", "minutes allowed", "ended"]
    rows = [
        [
            *settings(r, "program", "target", "n", "snr", "box", "threads", "seed", "minutes", "verdict"),
            *figures(r, known),
            *_cost(r),
        ]
        for r in records
    ]
    return table([*header, *known.values(), "s", "anonymous MB"], rows) + "\n" + _missing(records)


def estep_table(records: Records) -> str:
    """Rates of the matrix products beside a plain one, and shares of an iteration and of the run."""
    parts = []
    for _, same in groupby(records, key=lambda r: (r.settings["box"], r.settings["n"], r.settings["threads"])):
        rows = list(same)
        first = rows[0].settings
        parts.append(f"{first['n']:,} images of {first['box']} px, threads: {first['threads']}\n")
        header = [
            "what",
            "where",
            "largest product",
            "GFLOP/s",
            "share of the plain product's rate",
            "share of its stage",
            "share of the run",
        ]
        names = ("gflop_per_s", "share_of_plain", "share_of_stage", "share_of_run")
        lines = [[*settings(r, "what", "where", "shape"), *figures(r, names), *_cost(r)[:1]] for r in rows]
        parts.append(table([*header, "s"], lines))
    return "\n".join(parts)


def paths_table(records: Records) -> str:
    """Time and error of both paths, at each radius and number of in-plane angles."""
    columns = {
        "coefficients": "coefficients",
        "shifts": "shifts",
        "cross_ms": "cross terms, ms",
        "norms_ms": "norms, ms",
        "slices_ms": "slices, ms",
        "speed_over_products": "speed of cross terms over products",
        "score_error": "error of scores",
        "score_std": "standard deviation of scores",
    }
    rows = [[*settings(r, "radius", "in_plane", "path"), *figures(r, columns)] for r in records]
    return table(["radius", "in-plane angles", "path", *columns.values()], rows)


def _cost(record: BenchmarkRecord) -> list[str]:
    if not is_measured(record):
        return [NO_FIGURE] * 2
    return [_number(record.wall_seconds), f"{record.peak_memory_MB:.0f}"]


def _median(values: Sequence[float], form: str) -> str:
    return format(statistics.median(values), form) if values else NO_FIGURE


Table = tuple[str, Callable[[Records], str]]

FURTHER_COLUMNS = {
    "fnorm_mean": "mean F-norm",
    "paper_fnorm": "mean F-norm from the best reference view",
    "shift_mean_px": "shift error px",
    **RUN_COLUMNS,
    "gold_standard_A": "Å at FSC 0.143 of the half-maps",
    "group_is_right": "group found",
    "in_majority": "in a class of their species",
    "species_with_a_class": "species with a class",
}
SPECIES_COLUMNS = {"snr": "SNR of {}", "own": "{} in its classes"}


def further_table(records: Records) -> str:
    """One row per run: what it was given, then all figures."""
    names = [name for name in dict.fromkeys(n for r in records for n in r.settings) if name not in ("condition", "why")]
    known = known_columns(FURTHER_COLUMNS, records)
    for figure in dict.fromkeys(name for record in records for name in record.quality):
        kind, _, species = figure.partition("_")
        if kind in SPECIES_COLUMNS:
            known[figure] = SPECIES_COLUMNS[kind].format(species.upper())
    header = [*(CONDITIONS.get(name, name) for name in names), *known.values(), "s", "anonymous MB"]
    rows = [[*(str(r.settings.get(name, NO_FIGURE)) for name in names), *figures(r, known), *_cost(r)] for r in records]
    return table(header, rows) + _missing(records)


ENGINE_TABLES: dict[str, Table] = {
    "engine-targets": ("The engine on several targets", runs_table),
    "engine-conditions": ("The engine on what real stacks have", runs_table),
    "engine-network": ("The pose network beside the search", summary_table),
    "engine-amortised": ("The network that learns from the particles beside the search", runs_table),
    "engine-low-snr": ("The engine at low SNR", summary_table),
    "engine-cost": ("What the engine costs", cost_table),
    "engine-refine": ("Refinement", further_table),
    "engine-symmetry": ("Point groups found and imposed", further_table),
    "engine-mixtures": ("Mixtures", further_table),
    "engine-peers": ("Beside other programs", peers_table),
    "engine-estep": ("The E-step's matrix products", estep_table),
    "estep-paths": ("The E-step by products and by rings", paths_table),
}
"""Title and table of every result file of the engine."""
