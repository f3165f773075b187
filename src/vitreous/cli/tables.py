"""Numbers as a table on the terminal and as JSON."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitreous.io.atomic import atomic_path


def show(figures: Mapping[str, Any], json_path: Path | None, unprinted: Mapping[str, Any] | None = None) -> None:
    """Print one figure per line and, where a path is given, write all of them, and the unprinted ones, as JSON."""
    if json_path is not None:
        with atomic_path(json_path) as temporary:
            text = json.dumps({**figures, **(unprinted or {})}, indent=2, ensure_ascii=False) + "\n"
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    width = max(map(len, figures))
    for name, value in figures.items():
        sys.stdout.write(f"{name:<{width}}  {_in_digits(value)}\n")


def _in_digits(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_in_digits(v) for v in value) + "]"
    return str(value)
