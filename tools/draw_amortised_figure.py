"""Draw how poses and map of ``vitreous abinitio --method cryoai`` come about over the time of training.

python tools/draw_amortised_figure.py benchmarks/results/curves/amortised.jsonl docs/figures/amortised.png
(needs matplotlib)
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.plain_axes import label_axes

COLOURS = {"voxels": "#0f766e", "fouriernet": "#c2410c", "siren": "#7c3aed", "mlp": "#a16207"}
STYLES = {"symmetric": "-", "l2": "--"}
PANELS = (
    ("median_deg", "median error of poses, degrees", (2, 3, 5, 10, 20, 50, 100)),
    ("resolution_A", "resolution of the map at FSC 0.5, Å", (6, 8, 10, 15, 20, 30)),
    ("explained", "share of the images' power that is explained", ()),
)


def draw_panel(axes: Any, runs: list[dict[str, Any]], figure: str, title: str, ticks: tuple[int, ...]) -> None:
    """One line per run; colours are maps, dashes losses. An axis with ticks is logarithmic."""
    seen = set()
    for run in runs:
        named = dict(word.split("=") for word in run["settings"].split())
        colour, style = COLOURS[named["volume"]], STYLES[named["loss"]]
        label = f"{named['volume']}, {named['loss']}"
        seconds = [point["cpu_seconds"] for point in run["curve"]]
        values = [point[figure] for point in run["curve"]]
        axes.plot(seconds, values, style, color=colour, lw=1, label=None if label in seen else label)
        seen.add(label)
    if ticks:
        axes.set_yscale("log")
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.set_yticks([], minor=True)
    label_axes(axes, "processor seconds of training", title)


def main() -> None:
    """Read the curves of the table of maps and losses, and write the figure."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    runs = [json.loads(line) for line in source.read_text().splitlines()]
    shown = [run for run in runs if run["table"] == "maps" and run["box"] == 32 and "mirrored" not in run["settings"]]
    figure, panels = plt.subplots(1, len(PANELS), figsize=(11, 3.4), dpi=110, layout="constrained")
    for axes, (name, title, ticks) in zip(panels, PANELS, strict=True):
        draw_panel(axes, shown, name, title, ticks)
    panels[0].legend(fontsize=6, frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
