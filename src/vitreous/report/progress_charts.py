"""How a run went: one small chart for each number of ``metrics.jsonl``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vitreous.report.charts import Chart, axis, line

_STEPS = ("iteration", "step", "epoch", "round", "seconds")
_NO_CURVE = frozenset({"seconds", "time", "timestamp", *_STEPS})
_MOST = 12


def progress_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Draw every number that changed, up to twelve, against the iteration, epoch or time that was logged with it."""
    step = next((name for name in _STEPS if sum(_is_number(entry.get(name)) for entry in metrics) > 1), None)
    names = dict.fromkeys(name for entry in metrics for name, value in entry.items() if _is_number(value))
    found = []
    for name in names:
        pairs = [
            (float(entry[step]) if step else float(place), float(entry[name]))
            for place, entry in enumerate(metrics)
            if _is_number(entry.get(name)) and (step is None or _is_number(entry.get(step)))
        ]
        if name in _NO_CURVE or len({value for _, value in pairs}) < 2:
            continue
        x, y = np.array(pairs).T
        curve = line(x, y, name, "@c1") | {"mode": "lines+markers" if len(x) <= 60 else "lines"}
        curve |= {"marker": {"size": 4}, "hovertemplate": "%{x:.6~g}: %{y:.4~g}<extra></extra>"}
        layout = {"xaxis": axis("seconds" if step == "seconds" else step or "entry"), "yaxis": axis()}
        found.append(Chart(_title(name), "", [curve], layout, height=200))
    return found[:_MOST]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _title(name: str) -> str:
    words = name.removesuffix("_A").removesuffix("_deg").replace("_", " ").replace("/", " · ")
    unit = " (Å)" if name.endswith("_A") else " (°)" if name.endswith("_deg") else ""
    return words[:1].upper() + words[1:] + unit
