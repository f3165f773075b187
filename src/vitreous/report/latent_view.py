"""The latent space to look around in: axes and colours that the reader chooses, names of particles, ways through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vitreous.report import markup
from vitreous.report.charts import numbers
from vitreous.report.folder import RunFiles
from vitreous.runs.reader import read_points

Array = NDArray[np.float64]
_POINTS = 4000
_COMPONENTS = 6
_COORDINATES = 16
_COLOURS = {
    "rlnClassNumber": "cluster",
    "vitreousLatentConfidence": "confidence",
    "vitreousLatentDistance": "distance from the latents of the run",
}
_UMAP = ("vitreousUmap1", "vitreousUmap2")


@dataclass(frozen=True)
class LatentView:
    """Everything that the page's script draws of latents.

    Attributes
    ----------
    axes
        Coordinates of the particles by the title of their axis, each ``[n]``.
    colours
        What the particles can be coloured by, each ``[n]``.
    ids
        Name of each particle.
    ways
        Coordinates of the decoded maps by way (``pc1``, ``path``, ``kmeans`` …) and by the title of the axis.
    total
        How many particles there are; of many only some are shown.
    """

    axes: Mapping[str, Array]
    colours: Mapping[str, Array]
    ids: NDArray[Any]
    ways: Mapping[str, Mapping[str, Array]]
    total: int


def latent_view(files: RunFiles) -> LatentView | None:
    """Return what is shown of a run's latents; nothing where there are none, or they have one dimension."""
    if files.run.latents is None:
        return None
    ids, z = files.run.latents[0], files.run.latents[1].astype(np.float64)
    if len(z) < 2 or z.shape[1] < 2:
        return None
    kept = np.random.default_rng(0).permutation(len(z))[:_POINTS]
    plane = [files.particles[label] for label in _UMAP if len(files.particles.get(label, ())) == len(z)]
    space = _Space(z, np.stack(plane, 1) if len(plane) == 2 else None)
    colours = {
        words: files.particles[label][kept]
        for label, words in _COLOURS.items()
        if len(files.particles.get(label, ())) == len(z) and np.ptp(files.particles[label]) > 0
    }
    points = files.run.path / "volumes" / "latents.csv"
    ways = {name: space.axes(at) for name, at in _ways(*read_points(points)).items()} if points.exists() else {}
    return LatentView({name: v[kept] for name, v in space.axes(z).items()}, colours, ids[kept], ways, len(z))


class _Space:
    """Titles of axes, and where a latent lies on each."""

    def __init__(self, z: Array, umap: Array | None) -> None:
        self._mean, self._umap, self._tree = z.mean(axis=0), umap, cKDTree(z)
        _, widths, self._components = np.linalg.svd(z - self._mean, full_matrices=False)
        self._shares = widths**2 / max(float((widths**2).sum()), 1e-30)

    def axes(self, z: Array) -> dict[str, Array]:
        """Coordinates of latents by title; in the plane of UMAP, those of the nearest particle."""
        placed = (z - self._mean) @ self._components.T
        found = {
            f"principal component {k + 1} ({self._shares[k]:.0%} of the variance)": placed[:, k]
            for k in range(min(_COMPONENTS, placed.shape[1]))
        }
        found |= {f"z{k + 1}": z[:, k] for k in range(min(_COORDINATES, z.shape[1]))}
        if self._umap is not None:
            nearest = self._umap[self._tree.query(z)[1]]
            found |= {f"UMAP {k + 1}": nearest[:, k] for k in range(2)}
        return found


def _ways(names: list[str], z: NDArray[np.float32]) -> dict[str, Array]:
    """Gather points by what stands before the number in their names."""
    found: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        found.setdefault(name.rpartition("_")[0] or name, []).append(row)
    return {way: z[rows].astype(np.float64) for way, rows in found.items()}


def latent_figure(view: LatentView | None) -> str:
    """Return the figure that the page's script draws; nothing where there is nothing to draw."""
    if view is None:
        return ""
    titles = list(view.axes)
    payload = {
        "axes": {title: numbers(values) for title, values in view.axes.items()},
        "colours": {words: numbers(values) for words, values in view.colours.items()},
        "ids": [markup.text(name) for name in view.ids.tolist()],
        "ways": {
            markup.text(name): {title: numbers(values) for title, values in axes.items()}
            for name, axes in view.ways.items()
        },
    }
    shown = f"{len(view.ids):,} of {view.total:,} particles, drawn at random" if len(view.ids) < view.total else ""
    controls = _choice("latent-x", "Across", titles, 0) + _choice("latent-y", "Up", titles, 1)
    controls += _choice("latent-colour", "Colour", [*view.colours, "none"], 0)
    ways = "Lines and crosses: the decoded maps; click a name in the legend to hide it." if view.ways else ""
    caption = ". ".join(part for part in (shown or "All particles", "Point at one to read its name", ways) if part)
    return (
        '<figure class="card chart wide"><h3>Latent space</h3>'
        f'<div class="control">{controls}</div>'
        '<div id="latents" role="img" aria-label="Particles in the latent space"></div>'
        f'<script type="application/json" id="latent-data">{markup.embedded(payload)}</script>'
        f"<figcaption>{markup.text(caption.rstrip('.'))}.</figcaption></figure>"
    )


def _choice(name: str, label: str, options: list[str], chosen: int) -> str:
    listed = "".join(
        f"<option{' selected' if number == chosen else ''}>{markup.text(option)}</option>"
        for number, option in enumerate(options)
    )
    return f'<label for="{name}">{label}</label><select id="{name}">{listed}</select>'
