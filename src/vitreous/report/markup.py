"""Pieces of HTML. Every word that comes from a file passes through :func:`text`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from vitreous.report.charts import Chart
from vitreous.report.pictures import Picture


def text(value: object) -> str:
    """Escape a value for element content and quoted attributes."""
    return escape(str(value), quote=True)


def embedded(value: Any) -> str:
    """Write a value as JSON that cannot end the ``<script>`` around it; NaN is refused."""
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def section(name: str, heading: str, *content: str) -> str:
    """Return a section with a heading; nothing where all its content is empty."""
    body = "\n".join(part for part in content if part)
    if not body:
        return ""
    title = f'<h2 id="{name}-h">{text(heading)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">\n{title}\n{body}\n</section>'


def chart(figure: Chart | None) -> str:
    """Return a chart that the page's script draws."""
    if figure is None:
        return ""
    spec = {name: value for name, value in asdict(figure).items() if name in {"data", "layout"}}
    caption = f"<figcaption>{text(figure.caption)}</figcaption>" if figure.caption else ""
    return (
        f'<figure class="card chart{f" {figure.width}" if figure.width else ""}"><h3>{text(figure.title)}</h3>'
        f'<div class="plot" role="img" aria-label="{text(f"{figure.title}. {figure.caption}")}" '
        f'style="height:{figure.height}px"><script type="application/json">{embedded(spec)}</script></div>'
        f"{caption}</figure>"
    )


def charts(figures: Sequence[Chart | None]) -> str:
    """Return a grid of charts, two in a row, or three where that leaves no gap; nothing where there are none."""
    shown = [figure for figure in figures if figure is not None]
    inside = "\n".join(map(chart, shown))
    in_thirds = sum(not figure.width for figure in shown) not in {0, 1, 2, 4}
    return f'<div class="grid{" thirds" if in_thirds else ""}">\n{inside}\n</div>' if shown else ""


def picture(shown: Picture) -> str:
    """Return a picture with its scale bar."""
    bar = (
        f'<span class="scalebar" style="width:{shown.bar_percent:.2f}%" aria-label="scale bar {shown.bar_A:g} Å">'
        f"<i></i>{shown.bar_A:g} Å</span>"
    )
    return (
        f'<figure class="picture"><div><img src="{shown.source}" alt="{text(shown.alt)}">{bar}</div>'
        f"<figcaption>{text(shown.title)}</figcaption></figure>"
    )


def pictures(shown: Sequence[Picture], kind: str) -> str:
    """Return a row of pictures; nothing where there are none."""
    return f'<div class="pictures {kind}">{"".join(map(picture, shown))}</div>' if shown else ""


def table(rows: Mapping[str, Any]) -> str:
    """Return a table of names and values; mappings and lists are flattened into dotted names and lines."""
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{"<br>".join(map(text, values))}</td></tr>'
        for name, values in _flat(rows).items()
    )
    return f'<div class="scroll"><table>{body}</table></div>' if body else ""


def details(summary: str, body: str) -> str:
    """Return a block that unfolds; nothing where it is empty."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>" if body else ""


def _flat(rows: Mapping[str, Any], prefix: str = "") -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for name, value in rows.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            found[f"{prefix}{name}"] = list(value) or ["–"]
        else:
            found[f"{prefix}{name}"] = ["–" if value is None else value]
    return found
