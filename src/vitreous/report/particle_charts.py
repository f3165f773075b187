"""Charts of ``particles.star``: views, shifts, defocus, scores; and of latents."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.report.charts import Chart, axis, heat, histogram, numbers, readable
from vitreous.report.sphere import (
    SphereBins,
    fourier_coverage,
    kernel_width_deg,
    mollweide,
    mollweide_grid,
    relative_density,
    viewing_directions,
)

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
_SCORES = {
    "rlnLogLikeliContribution": ("Log-likelihood", "log-likelihood of the best pose"),
    "rlnMaxValueProbDistribution": ("Certainty of the pose", "highest probability of a pose"),
    "rlnNrOfSignificantSamples": ("Poses in question", "poses with significant probability"),
    "rlnNormCorrection": ("Contrast", "scale of the image"),
    "rlnCtfFigureOfMerit": ("CTF fit", "figure of merit"),
}
_POINTS = 4000


def view_chart(particles: Columns) -> Chart | None:
    """Draw the density of viewing directions on an equal-area map of the sphere."""
    if not {"rlnAngleRot", "rlnAngleTilt"} <= particles.keys():
        return None
    directions = viewing_directions(particles["rlnAngleRot"], particles["rlnAngleTilt"])
    directions = directions[np.isfinite(directions).all(axis=1)]
    if not len(directions):
        return None
    bins = SphereBins.build(40)
    width_deg = kernel_width_deg(len(directions))
    x, y, pixels = mollweide_grid(150)
    shown = np.isfinite(pixels).all(axis=-1)
    density = np.full(shown.shape, np.nan)
    density[shown] = relative_density(directions, pixels[shown], width_deg, bins)
    weakest = float(fourier_coverage(directions, bins).min())
    caption = (
        f"Density of viewing directions, 1 where it equals that of {len(directions):,} evenly spread views "
        f"(equal-area Mollweide map, smoothed over {width_deg:.0f}°, before symmetry). "
        f"The least sampled direction of the map gets {weakest:.0%} of the average."
    )
    surface = heat(x, y, np.log2(np.maximum(density, 1 / 8)), "× uniform", "")
    surface |= {"zmin": -3, "zmax": 3, "hoverinfo": "skip"}
    surface["colorbar"] |= {"tickvals": list(range(-3, 4)), "ticktext": ["≤ ⅛", "¼", "½", "1", "2", "4", "≥ 8"]}
    hidden = {"visible": False, "fixedrange": True}
    layout = {
        "xaxis": hidden | {"range": [-2.4, 2.4]},
        "yaxis": hidden | {"range": [-1.15, 1.15], "scaleanchor": "x"},
        "annotations": _angle_labels(),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    }
    return Chart("Viewing directions", caption, [surface, *_graticule()], layout, height=330, width="large")


def _graticule() -> list[dict[str, Any]]:
    """Return meridians and parallels every 30°, and the outline."""
    tilt, rot = np.linspace(0, 180, 91), np.linspace(-180, 180, 91)
    thin = [mollweide(np.full_like(tilt, fixed), tilt) for fixed in range(-150, 180, 30)]
    thin += [mollweide(rot, np.full_like(rot, fixed)) for fixed in range(30, 180, 30)]
    edge = [mollweide(np.full_like(tilt, fixed), tilt) for fixed in (-180, 180)]
    return [_outline(thin, "@grid_on_heat", 0.6), _outline(edge, "@muted", 1.4)]


def _outline(curves: list[tuple[Array, Array]], colour: str, width: float) -> dict[str, Any]:
    gap = np.array([np.nan])
    x, y = (np.concatenate([part for curve in curves for part in (curve[i], gap)]) for i in (0, 1))
    style = {"line": {"color": colour, "width": width}, "hoverinfo": "skip", "showlegend": False}
    return {"type": "scatter", "mode": "lines", "x": numbers(x), "y": numbers(y)} | style


def _angle_labels() -> list[dict[str, Any]]:
    places = [
        (0, 1.07, "center", "tilt 0°"),
        (0, -1.07, "center", "tilt 180°"),
        (-2.03, 0, "right", "rot −180°"),
        (2.03, 0, "left", "180°"),
    ]
    small = {"showarrow": False, "font": {"size": 11, "color": "@muted"}}
    return [{"x": x, "y": y, "xanchor": anchor, "text": text} | small for x, y, anchor, text in places]


def shift_chart(particles: Columns) -> Chart | None:
    """Draw the density of in-plane shifts (the negative of RELION's origins)."""
    if not {"rlnOriginXAngst", "rlnOriginYAngst"} <= particles.keys():
        return None
    shifts = -np.stack([particles["rlnOriginXAngst"], particles["rlnOriginYAngst"]], axis=1)
    shifts = shifts[np.isfinite(shifts).all(axis=1)]
    if not len(shifts) or not np.any(shifts):
        return None
    reach = max(float(np.percentile(np.abs(shifts), 99.5)) * 1.1, 0.5)
    edges = np.linspace(-reach, reach, 42)
    counts, _, _ = np.histogram2d(shifts[:, 1], shifts[:, 0], [edges, edges])
    middle = (edges[:-1] + edges[1:]) / 2
    data = [heat(middle, middle, counts, "", "x %{x:.1f} Å, y %{y:.1f} Å: %{z}<extra></extra>") | {"showscale": False}]
    caption = (
        f"Where each particle's centre lies relative to the centre of its box; "
        f"half of them within {np.median(np.linalg.norm(shifts, axis=1)):.1f} Å."
    )
    layout = {
        "xaxis": axis("shift x (Å)", constrain="domain", zeroline=True),
        "yaxis": axis("shift y (Å)", scaleanchor="x", constrain="domain", zeroline=True),
    }
    return Chart("Shifts", caption, data, layout, height=330)


def defocus_chart(particles: Columns) -> Chart | None:
    """Draw the defocus (mean of U and V) in µm."""
    if "rlnDefocusU" not in particles:
        return None
    u = particles["rlnDefocusU"]
    v = particles.get("rlnDefocusV", u)
    mean_um = (u + v) / 2e4
    mean_um = mean_um[np.isfinite(mean_um)]
    if not len(mean_um):
        return None
    caption = f"Mean of the two axes, positive under focus. Median astigmatism {np.nanmedian(np.abs(u - v)):,.0f} Å."
    return histogram(mean_um, "Defocus", "defocus (µm)", caption)


def score_charts(particles: Columns) -> list[Chart]:
    """Draw RELION's scores and our own (``vitreousCamelCase``) where they differ between particles."""
    own = {label: (_words(label), "value") for label in particles if label.startswith("vitreous")}
    found = []
    for label, (title, x_title) in (_SCORES | own).items():
        values = particles.get(label, np.zeros(0))
        values = values[np.isfinite(values)]
        if len(values) and np.ptp(values) > 0:
            found.append(histogram(values, title, x_title, f"Median {readable(float(np.median(values)))}."))
    return found


def _words(label: str) -> str:
    """Return ``Effective poses`` for ``vitreousEffectivePoses``."""
    return re.sub(r"(?<!^)([A-Z])", r" \1", label.removeprefix("vitreous")).capitalize()


def class_chart(particles: Columns) -> Chart | None:
    """Draw how many particles each class holds, where there is more than one."""
    numbers_of = particles.get("rlnClassNumber", np.zeros(0))
    return histogram(numbers_of, "Class sizes", "class") if len(np.unique(numbers_of)) > 1 else None


def latent_chart(latents: Array, classes: Array | None = None) -> Chart | None:
    """Draw latents in the plane of their two widest principal components; a histogram where there is one."""
    if len(latents) < 2:
        return None
    centred = latents - latents.mean(axis=0)
    _, widths, axes = np.linalg.svd(centred, full_matrices=False)
    share = widths**2 / max(float((widths**2).sum()), 1e-30)
    placed = centred @ axes.T
    if placed.shape[1] < 2:
        return histogram(latents[:, 0], "Latent coordinate", "z")
    kept = np.random.default_rng(0).permutation(len(placed))[:_POINTS]
    by_class = classes is not None and len(classes) == len(latents) and len(np.unique(classes)) > 1
    marker: dict[str, Any] = {"size": 4, "opacity": 0.55, "color": "@c1"}
    if by_class and classes is not None:
        marker |= {"color": numbers(classes[kept]), "colorscale": "Viridis", "colorbar": {"title": {"text": "class"}}}
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(placed[kept, 0]),
        "y": numbers(placed[kept, 1]),
        "marker": marker,
        "hoverinfo": "skip",
    }
    layout = {
        "xaxis": axis(f"principal component 1 ({share[0]:.0%} of the variance)"),
        "yaxis": axis(f"principal component 2 ({share[1]:.0%})"),
    }
    shown = "All particles"
    if len(latents) > _POINTS:
        shown = f"{_POINTS:,} of {len(latents):,} particles, drawn at random"
    caption = f"{shown}, in the plane of the two widest directions of a {latents.shape[1]}-dimensional space."
    return Chart("Latent space", caption, [points], layout, height=380, width="wide")
