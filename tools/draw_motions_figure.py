"""Draw what methods of ``vitreous flex`` reach for the time that they train.

python tools/draw_motions_figure.py benchmarks/results/motions.json docs/figures/motions.png     (needs matplotlib)
"""

import sys
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.rows import is_measured, read_rows
from tools.plain_axes import INK, label_axes

COLOURS = ("#0f766e", "#c2410c", "#7c3aed", "#a16207", "#94a3b8", "#1d4ed8", "#be185d", "#4d7c0f", "#0891b2", "#57534e")
CONDITIONS = {"recipe": "igg-1d-48", "SNR": 0.1, "box": 32, "n": 10_000}
BOUNDS = ("told the angle", "told nothing")
TICKS = (10, 30, 100, 300, 1000)
PANELS = (
    ("unseen_particles.fsc_auc_mean", "FSC-AUC of new particles (at most 0.5)"),
    ("unseen_particles.circular_correlation", "correlation of the angle, new particles"),
)


def draw_panel(axes: Any, methods: dict[str, list[Any]], figure: str, title: str) -> None:
    """One mark per method, with the standard deviation over its seeds; lines where latents were told."""
    known = {method: rows for method, rows in methods.items() if figure in rows[0].quality}
    for bound in (known.pop(name) for name in BOUNDS if name in known):
        height = mean(float(row.quality[figure]) for row in bound)
        axes.axhline(height, lw=0.8, ls="--", color=INK)
        told = str(bound[0].settings["method"])
        axes.annotate(
            told, (0.01, height), (0, -9), ("axes fraction", "data"), textcoords="offset points", fontsize=7, color=INK
        )
    for colour, (method, rows) in zip(COLOURS, known.items(), strict=True):
        seconds = [float(row.quality["cpu_seconds"]) for row in rows]
        values = [float(row.quality[figure]) for row in rows]
        axes.errorbar(
            mean(seconds), mean(values), pstdev(values), pstdev(seconds), fmt="o", ms=6, color=colour, label=method
        )
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.set_xticks([], minor=True)
    label_axes(axes, "processor seconds of training", title)


def main() -> None:
    """Read the rows and write the figure."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    methods: dict[str, list[Any]] = {}
    for row in read_rows(source):
        if is_measured(row) and row.settings.items() >= CONDITIONS.items():
            methods.setdefault(str(row.settings["method"]), []).append(row)
    figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.4), dpi=110, layout="constrained")
    for axes, (name, title) in zip(panels, PANELS, strict=True):
        draw_panel(axes, methods, name, title)
    panels[0].legend(fontsize=7, frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
