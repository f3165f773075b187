"""Draw the figure of the README: the demo's images, its map beside the truth, and their Fourier shell correlation.

python tools/draw_demo_figure.py demo docs/figures/demo.png     (needs matplotlib)
"""

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

mpl.use("Agg")
from matplotlib import pyplot as plt

from vitreous.data import Volume
from vitreous.evaluate.maps import MapComparison, compare_maps
from vitreous.io import open_particles
from vitreous.io.maps import read_map
from vitreous.reconstruct.align_maps import MapAlignment, mirror_map, rotate_map

INK, ACCENT, MUTED = "#1f2933", "#c2410c", "#64748b"


def picture(axes: Any, pixels: torch.Tensor, title: str = "", top: float = 0.9995) -> None:
    """Show one image, dark to bright between its quantiles."""
    low, high = (float(torch.quantile(pixels.flatten(), q)) for q in (1 - top, top))
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="bilinear")
    axes.set_title(title, fontsize=8, color=INK, pad=3)
    axes.set_axis_off()


def projections(values: torch.Tensor) -> list[torch.Tensor]:
    """Projections along z, y and x of what is denser than the solvent."""
    return [values.clamp_min(0).sum(axis) for axis in (0, 1, 2)]


def mask_in_frame_of_truth(run: Path, moved: MapAlignment) -> Volume:
    """The run's own mask, moved as its map was."""
    mask = read_map(run / "mask.mrc")
    return rotate_map(mirror_map(mask) if moved.mirrored else mask, moved.rotation, moved.translation_A)


def half_map_curve(run: Path) -> tuple[list[float], list[float]]:
    """Frequencies and corrected FSC of the run's half-maps."""
    with (run / "fsc.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["frequency_per_A"]) for row in rows], [float(row["corrected"]) for row in rows]


def draw_curves(axes: Any, found: MapComparison, run: Path) -> None:
    """Plot the FSC to the truth and between half-maps, with their thresholds."""
    frequency = found.frequency_per_A.numpy()
    axes.axhline(0.5, color=MUTED, lw=0.6, ls=":")
    axes.axhline(0.143, color=MUTED, lw=0.6, ls=":")
    axes.plot(frequency, found.fsc, color=ACCENT, lw=1.6, label="map to truth")
    axes.plot(*half_map_curve(run), color=INK, lw=1.2, label="between half-maps, corrected")
    axes.set(xlim=(0, frequency[-1]), ylim=(-0.05, 1.05))
    axes.set_xlabel("spatial frequency (1/Å)", fontsize=8, color=INK)
    axes.set_ylabel("Fourier shell correlation", fontsize=8, color=INK)
    axes.tick_params(labelsize=7, colors=INK)
    axes.legend(fontsize=7, frameon=False, loc="lower left")
    axes.set_title(f"{found.resolution_05_A:.1f} Å at FSC 0.5 to the truth", fontsize=8, color=INK, pad=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main() -> None:
    """Read the demo's folder and write the figure."""
    demo, target = Path(sys.argv[1]), Path(sys.argv[2])
    truth = read_map(demo / "stack" / "state_01.mrc")
    found = compare_maps(read_map(demo / "run" / "volume.mrc"), truth)
    if found.alignment is None:
        raise SystemExit("the map could not be aligned")
    masked = found.alignment.volume.values * mask_in_frame_of_truth(demo / "run", found.alignment).values
    figure = plt.figure(figsize=(8.6, 3.6), dpi=110)
    grid = figure.add_gridspec(3, 6, width_ratios=[1, 0.12, 1, 1, 0.7, 4.0], wspace=0.06, hspace=0.06)
    images = open_particles(demo / "stack" / "particles.star").images(torch.arange(3))
    for row, image in enumerate(images):
        picture(figure.add_subplot(grid[row, 0]), image, "particles" if row == 0 else "")
    for column, (title, values) in enumerate((("map found", masked), ("truth", truth.values))):
        for row, pixels in enumerate(projections(values)):
            picture(figure.add_subplot(grid[row, 2 + column]), pixels, title if row == 0 else "")
    draw_curves(figure.add_subplot(grid[:, 5]), found, demo / "run")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, bbox_inches="tight", facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
