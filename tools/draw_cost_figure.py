"""Draw what an ab initio run costs: time by stage and memory against the number of images and against the box.

python tools/draw_cost_figure.py benchmarks/results/engine-cost.json docs/figures/cost.png     (needs matplotlib)
"""

import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.engine_tables import Column, cost_columns, exponent, sweep
from benchmarks.rows import is_measured, read_rows

INK, MUTED = "#1f2933", "#64748b"
COLOURS = ("#94a3b8", "#c2410c", "#0f766e", "#7c3aed", "#a16207")
SWEEPS = (("n", "box", "images"), ("box", "n", "box (px)"))


def draw_curve(axes: Any, x: list[float], column: Column, colour: str) -> None:
    """Plot one column with its exponent in the legend."""
    power = exponent(x, column.values)
    label = column.title if math.isnan(power) else f"{column.title}: {power:.2f}"
    axes.plot(x, column.values, color=colour, lw=2.2 if colour == INK else 1.2, marker="o", ms=3, label=label)


def dress(axes: Any, x: list[float], titles: tuple[str, str]) -> None:
    """Give a panel its scales, labels and legend."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(x, [f"{value:,.0f}" for value in x])
    axes.minorticks_off()
    axes.set_xlabel(titles[0], fontsize=8, color=INK)
    axes.set_ylabel(titles[1], fontsize=8, color=INK)
    axes.tick_params(labelsize=7, colors=INK)
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    axes.legend(fontsize=6.5, frameon=False, title="with exponents", title_fontsize=6.5, **above)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main() -> None:
    """Read the rows and write the figure."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    records = [record for record in read_rows(source) if is_measured(record)]
    figure, panels = plt.subplots(2, 2, figsize=(8.6, 6.6), dpi=110, layout="constrained")
    for column, (name, fixed, title) in enumerate(SWEEPS):
        rows = sweep(records, name, fixed)
        x = [float(row.settings[name]) for row in rows]
        *stages, seconds, memory = cost_columns(rows)
        for one, colour in zip(stages, COLOURS):
            draw_curve(panels[0, column], x, one, colour)
        draw_curve(panels[0, column], x, seconds, INK)
        draw_curve(panels[1, column], x, memory, INK)
        dress(panels[0, column], x, (title, "seconds"))
        dress(panels[1, column], x, (title, "anonymous memory (MB)"))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
