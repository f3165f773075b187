"""Maps of the sphere: views, the sampling of Fourier space that follows from them, and the resolution by direction."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.data import ConicalCurves
from vitreous.geometry.sphere_bins import SphereBins
from vitreous.report.charts import Chart, heat, numbers
from vitreous.report.sphere import (
    kernel_width_deg,
    mollweide,
    mollweide_grid,
    relative_density,
    smoothed,
    viewing_directions,
)

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
_MAP_HEIGHT = 150
_CONE_KERNEL_DEG = 6.0
_NARROWEST_RANGE = 1.25


def view_chart(particles: Columns) -> Chart | None:
    """Draw the density of viewing directions on an equal-area map of the sphere."""
    if not {"rlnAngleRot", "rlnAngleTilt"} <= particles.keys():
        return None
    directions = viewing_directions(particles["rlnAngleRot"], particles["rlnAngleTilt"])
    directions = directions[np.isfinite(directions).all(axis=1)]
    if not len(directions):
        return None
    width_deg = kernel_width_deg(len(directions))
    caption = (
        f"Density of viewing directions, 1 where it equals that of {len(directions):,} evenly spread views "
        f"(equal-area Mollweide map, smoothed over {width_deg:.0f}°, before symmetry)."
    )
    bins = SphereBins.build(40)
    surface = _relative(lambda at: relative_density(directions, at, width_deg, bins))
    return _sphere_chart("Viewing directions", caption, surface)


def sampling_chart(cones: ConicalCurves | None, summary: Mapping[str, Any]) -> Chart | None:
    """Draw how many slices pass through each direction of Fourier space, relative to uniform views."""
    if cones is None:
        return None
    caption = "Slices through each direction of Fourier space, 1 where there are as many as with even views"
    factor, unsampled = summary.get("sampling_compensation_factor"), summary.get("unsampled_share")
    if isinstance(factor, float) and isinstance(unsampled, float):
        caption += f". Sampling compensation factor {factor:.2f}; {unsampled:.1%} of all directions have no slice"
    directions, values = cones.directions.double().numpy(), cones.sampling.double().numpy()
    surface = _relative(lambda at: smoothed(directions, values, at, _CONE_KERNEL_DEG))
    return _sphere_chart("Sampling of Fourier space", f"{caption}.", surface)


def resolution_map(cones: ConicalCurves | None, summary: Mapping[str, Any]) -> Chart | None:
    """Draw the resolution of the conical FSC by direction."""
    if cones is None:
        return None
    resolution = cones.resolution_A.double().numpy()
    best, median, worst = np.percentile(resolution, [5, 50, 95])
    directions = cones.directions.double().numpy()
    surface = _surface(lambda at: smoothed(directions, resolution, at, _CONE_KERNEL_DEG), "Å")
    surface |= {"zmin": float(best), "zmax": float(max(worst, _NARROWEST_RANGE * best))}
    caption = (
        f"Resolution of the half-maps within 20° of each direction of Fourier space: {median:.1f} Å in the median, "
        f"better than {best:.1f} Å in the best twentieth and worse than {worst:.1f} Å in the worst"
    )
    if isinstance(summary.get("sphericity"), float):
        caption += f"; sphericity {summary['sphericity']:.2f}"
    return _sphere_chart("Resolution by direction", f"{caption}.", surface)


def _relative(density_at: Callable[[Array], Array]) -> dict[str, Any]:
    """Return a picture of densities on a logarithmic scale from ⅛ to 8 times uniform."""
    surface = _surface(lambda at: np.log2(np.maximum(density_at(at), 1 / 8)), "× uniform")
    surface |= {"zmin": -3, "zmax": 3}
    surface["colorbar"] |= {"tickvals": list(range(-3, 4)), "ticktext": ["≤ ⅛", "¼", "½", "1", "2", "4", "≥ 8"]}
    return surface


def _surface(values_at: Callable[[Array], Array], unit: str) -> dict[str, Any]:
    x, y, pixels = mollweide_grid(_MAP_HEIGHT)
    shown = np.isfinite(pixels).all(axis=-1)
    values = np.full(shown.shape, np.nan)
    values[shown] = values_at(pixels[shown])
    return heat(x, y, values, unit, "") | {"hoverinfo": "skip"}


def _sphere_chart(title: str, caption: str, surface: dict[str, Any]) -> Chart:
    hidden = {"visible": False, "fixedrange": True}
    layout = {
        "xaxis": hidden | {"range": [-2.4, 2.4]},
        "yaxis": hidden | {"range": [-1.15, 1.15], "scaleanchor": "x"},
        "annotations": _angle_labels(),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    }
    return Chart(title, caption, [surface, *_graticule()], layout, height=300)


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
        (-2.03, 0, "right", "−180°"),
        (2.03, 0, "left", "180°"),
    ]
    small = {"showarrow": False, "font": {"size": 11, "color": "@muted"}}
    return [{"x": x, "y": y, "xanchor": anchor, "text": text} | small for x, y, anchor, text in places]
