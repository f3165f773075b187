"""The FSC charts: every curve, the threshold and the crossing that the resolution is read from; curves by direction."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.constants import FSC_GOLD_STANDARD
from vitreous.data import ConicalCurves, ResolutionCurves
from vitreous.fourier.shells import crossing_shell
from vitreous.report.charts import Chart, axis, line, numbers

Array = NDArray[np.float64]
_STYLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unmasked": ("unmasked", "@c3", {}),
    "masked": ("masked", "@c2", {}),
    "randomised": ("phases randomised, masked", "@c4", {"dash": "dot"}),
    "corrected": ("corrected for the mask", "@c1", {"width": 3}),
}
_ROUND_A = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3.2, 3, 2.8, 2.6, 2.4, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1)


def fsc_chart(curves: ResolutionCurves | None) -> Chart | None:
    """Draw the curves that there are; None where there are none."""
    if curves is None or len(curves.frequency_per_A) < 2:
        return None
    frequency = curves.frequency_per_A.double().numpy()
    drawn = {name: getattr(curves, name) for name in _STYLES}
    data = [_curve(frequency, name, curve.numpy()) for name, curve in drawn.items() if curve is not None]
    layout = _fsc_layout(float(frequency[-1]))
    crossing = crossing_per_A(frequency, curves.final.double().numpy())
    final = _STYLES["unmasked" if curves.corrected is None else "corrected"][0]
    if crossing is None:
        caption = f"The curve “{final}” stays above {FSC_GOLD_STANDARD} up to Nyquist: the pixel size is the limit."
    else:
        data.append(_mark(crossing))
        caption = f"Between the two half-maps. “{final.capitalize()}” first falls below {FSC_GOLD_STANDARD} "
        caption += f"at {1 / crossing:.2f} Å."
    return Chart("Fourier shell correlation", caption, data, layout, height=360, width="wide")


def cone_chart(cones: ConicalCurves | None) -> Chart | None:
    """Draw the conical FSC: the median of all directions in the band from the 5th to the 95th percentile."""
    if cones is None or len(cones.frequency_per_A) < 2:
        return None
    frequency, curves = cones.frequency_per_A.double().numpy(), cones.fsc.double().numpy()
    lowest, low, median, high = np.percentile(curves, [0, 5, 50, 95], axis=0)
    edge = {"width": 0}
    band = line(frequency, low, "", "@c1", **edge) | {
        "fill": "tonexty",
        "fillcolor": "@band",
        "name": "9 in 10 directions",
    }
    data = [
        line(frequency, high, "", "@c1", **edge) | {"showlegend": False, "hoverinfo": "skip"},
        band | {"hoverinfo": "skip"},
        _labelled(frequency, lowest, "lowest", "@c2", dash="dot"),
        _labelled(frequency, median, "median", "@c1", width=3),
    ]
    caption = (
        f"FSC of the half-maps within 20° of each of {len(curves)} directions. A wide band where the median falls "
        "means that the resolution depends on the direction, or that there are so few particles that cones are noisy."
    )
    return Chart("FSC by direction", caption, data, _fsc_layout(float(frequency[-1])), height=300)


def crossing_per_A(frequency_per_A: Array, curve: Array) -> float | None:
    """Frequency at which a curve first falls below 0.143 (linear between shells), or None."""
    shell = crossing_shell(torch.from_numpy(np.nan_to_num(curve, nan=1.0)), FSC_GOLD_STANDARD)
    if shell is None:
        return None
    return float(np.interp(shell, np.arange(len(curve)), frequency_per_A))


def _fsc_layout(highest_per_A: float) -> dict[str, Any]:
    return {
        "xaxis": axis("resolution (Å)", range=[0, highest_per_A], **_ticks(highest_per_A)),
        "yaxis": axis("Fourier shell correlation", range=[-0.08, 1.04], dtick=0.2, zeroline=True),
        "shapes": [_threshold()],
        "annotations": [_threshold_label()],
        "showlegend": True,
        "hovermode": "x unified",
    }


def _curve(frequency: Array, name: str, values: Array) -> dict[str, Any]:
    label, colour, style = _STYLES[name]
    return _labelled(frequency, values, label, colour, **style)


def _labelled(frequency: Array, values: Array, label: str, colour: str, **style: Any) -> dict[str, Any]:
    """Return a curve that shows its value and its resolution."""
    angstrom = [f"{1 / f:.2f} Å" if f > 0 else "∞" for f in frequency]
    return line(frequency, values, label, colour, **style) | {
        "text": angstrom,
        "hovertemplate": "%{y:.3f} at %{text}",
    }


def _ticks(highest_per_A: float) -> dict[str, Any]:
    """Put ticks at round resolutions, no two closer than 6 % of the axis."""
    chosen: list[float] = []
    for angstrom in _ROUND_A:
        place, last = 1 / angstrom, 1 / chosen[-1] if chosen else 0.0
        if place <= highest_per_A and place - last >= 0.06 * highest_per_A:
            chosen.append(angstrom)
    return {"tickvals": numbers(1 / np.array(chosen)), "ticktext": [f"{angstrom:g}" for angstrom in chosen]}


def _threshold() -> dict[str, Any]:
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": FSC_GOLD_STANDARD, "y1": FSC_GOLD_STANDARD}
    return {"type": "line", "line": {"color": "@muted", "width": 1, "dash": "dash"}} | ends


def _threshold_label() -> dict[str, Any]:
    place = {"x": 0.004, "xref": "paper", "xanchor": "left", "y": FSC_GOLD_STANDARD, "yanchor": "bottom"}
    return {"text": str(FSC_GOLD_STANDARD), "showarrow": False, "font": {"color": "@muted", "size": 12}} | place


def _mark(crossing_per_A: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [crossing_per_A],
        "y": [FSC_GOLD_STANDARD],
        "text": [f"  {1 / crossing_per_A:.2f} Å"],
        "textposition": "top right",
        "textfont": {"color": "@ink", "size": 14},
        "marker": {"color": "@c1", "size": 11, "line": {"color": "@surface", "width": 2}},
        "hoverinfo": "skip",
        "cliponaxis": False,
        "showlegend": False,
    }
