"""Charts of ``particles.star``: shifts, defocus, scores; and of latents."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.report.charts import Chart, axis, heat, histogram, numbers, readable

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
