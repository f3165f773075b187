"""Charts as plain plotly figures: dictionaries of lists, with colours named by their role on the page.

A colour ``@name`` is the page's custom property ``--name``, so that a chart follows light and dark; ``@heat`` is its
sequence of colours for densities.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chart:
    """A plotly figure with words around it.

    Attributes
    ----------
    title, caption
        Heading above and plain words below it.
    data, layout
        Traces and layout of plotly.
    height
        Height on the page in CSS pixels.
    width
        ``""`` for a share of a row, ``"large"`` for two thirds of it, ``"wide"`` for all of it.
    """

    title: str
    caption: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 260
    width: str = ""


def axis(title: str = "", **options: Any) -> dict[str, Any]:
    """Return an axis with a title; options are plotly's."""
    return {"title": {"text": title}} | options


def line(x: Array, y: Array, name: str, colour: str, **style: Any) -> dict[str, Any]:
    """Return a curve."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x),
        "y": numbers(y),
        "name": name,
        "line": {"color": colour, "width": 2} | style,
    }


def histogram(values: Array, title: str, x_title: str, caption: str = "") -> Chart:
    """Count values in about 50 bins of equal width between their 0.1th and 99.9th percentile, outliers in the last."""
    low, high = np.percentile(values, [0.1, 99.9])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    whole = bool(np.all(values == np.rint(values))) and high - low < 60
    edges = np.arange(np.floor(low), np.ceil(high) + 2) - 0.5 if whole else np.linspace(low, high, 51)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    bars = {
        "type": "bar",
        "x": numbers((edges[:-1] + edges[1:]) / 2),
        "y": counts.tolist(),
        "marker": {"color": "@c1", "line": {"width": 0}},
        "hovertemplate": "%{x:.4~g}: %{y:,}<extra></extra>",
    }
    layout = {"bargap": 0.04, "xaxis": axis(x_title), "yaxis": axis("particles", rangemode="tozero")}
    return Chart(title, caption, [bars], layout)


def heat(x: Array, y: Array, z: Array, colour_title: str, hover: str) -> dict[str, Any]:
    """Return a map of densities ``[y, x]``, sent as 32-bit numbers."""
    return {
        "type": "heatmap",
        "x": numbers(x),
        "y": numbers(y),
        "z": packed(z),
        "zmin": 0,
        "colorscale": "@heat",
        "colorbar": {
            "title": {"text": colour_title, "side": "right", "font": {"color": "@muted", "size": 12}},
            "thickness": 9,
            "outlinewidth": 0,
            "tickfont": {"color": "@muted"},
        },
        "hovertemplate": hover,
        "hoverongaps": False,
    }


def readable(value: float) -> str:
    """Write a number with about four digits, without an exponent where it can be read so."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def numbers(values: Array) -> list[float | None]:
    """Return numbers with six digits; what is not finite becomes a gap."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=np.float64)]


def packed(values: Array) -> dict[str, Any]:
    """Return an array in plotly's binary form."""
    raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return {"dtype": "f4", "bdata": base64.b64encode(raw).decode(), "shape": ", ".join(map(str, values.shape))}
