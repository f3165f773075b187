"""Charts of ``particles.star``: shifts, defocus, scores, classes."""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vitreous.report.charts import Chart, axis, heat, histogram, readable

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
_SCORES = {
    "rlnLogLikeliContribution": ("Log-likelihood", "log-likelihood of the best pose"),
    "rlnMaxValueProbDistribution": ("Certainty of the pose", "highest probability of a pose"),
    "rlnNrOfSignificantSamples": ("Poses in question", "poses with significant probability"),
    "rlnNormCorrection": ("Contrast", "scale of the image"),
    "rlnCtfFigureOfMerit": ("CTF fit", "figure of merit"),
}


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
    drawn_elsewhere = ("vitreousUmap1", "vitreousUmap2")
    ours = [label for label in particles if label.startswith("vitreous") and label not in drawn_elsewhere]
    own = {label: (_words(label), "value") for label in ours}
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
