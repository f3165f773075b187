"""Axes of the figures of the documentation."""

from typing import Any

INK = "#1f2933"


def label_axes(axes: Any, across: str, up: str) -> None:
    """Name both axes in small print, and leave the frame open."""
    axes.set_xlabel(across, fontsize=8, color=INK)
    axes.set_ylabel(up, fontsize=8, color=INK)
    axes.tick_params(which="both", labelsize=7, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
