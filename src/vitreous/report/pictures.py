"""Central slices and projections of a map as small inline pictures with a scale bar."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Volume
from vitreous.fourier.transform import fourier_crop
from vitreous.report.png import data_uri, movie_uri, to_grey

_AXES = {"z": ("x", "y"), "y": ("x", "z"), "x": ("y", "z")}
"""Axis that is looked along, and the picture's axes: to the right and downwards."""


@dataclass(frozen=True)
class Picture:
    """A picture for an ``<img>``.

    Attributes
    ----------
    source
        ``data:`` address.
    title, alt
        Caption and description.
    bar_A, bar_percent
        Length of the scale bar in Å and in percent of the picture's width.
    """

    source: str
    title: str
    alt: str
    bar_A: float
    bar_percent: float


def central_slices(volume: Volume, side: int = 320) -> list[Picture]:
    """Cut a map through its centre, perpendicular to z, y and x."""
    centre = volume.box // 2
    planes = [volume.values.select(dim, centre) for dim in range(3)]
    return _pictures(volume, planes, "slice", side)


def projections(volume: Volume, side: int = 320) -> list[Picture]:
    """Sum a map along z, y and x."""
    return _pictures(volume, [volume.values.sum(dim) for dim in range(3)], "projection", side)


def _pictures(volume: Volume, planes: list[torch.Tensor], kind: str, side: int) -> list[Picture]:
    bar_A, bar_percent = scale_bar(volume.box * volume.voxel_size_A)
    shown = fourier_crop(torch.stack(planes), side).numpy()
    return [
        Picture(
            data_uri(to_grey(plane)),
            f"{kind} along {axis}",
            f"{'Central slice perpendicular to' if kind == 'slice' else 'Projection of the map along'} {axis}; "
            f"{right} to the right, {down} downwards",
            bar_A,
            bar_percent,
        )
        for plane, (axis, (right, down)) in zip(shown, _AXES.items())
    ]


def scale_bar(field_A: float) -> tuple[float, float]:
    """Return a round length (1, 2 or 5 times a power of ten Å) up to a third of a field, and its percentage."""
    wanted = field_A / 3
    power = 10.0 ** np.floor(np.log10(wanted))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= wanted))
    return length, 100 * length / field_A


def thumbnail(volume: Volume, title: str, side: int = 200) -> Picture:
    """Project a map along z, smaller."""
    planes: NDArray[np.float32] = fourier_crop(volume.values.sum(0)[None], side)[0].numpy()
    bar_A, bar_percent = scale_bar(volume.box * volume.voxel_size_A)
    return Picture(data_uri(to_grey(planes)), title, f"Projection of {title} along z", bar_A, bar_percent)


def movie(volumes: Sequence[Volume], title: str, side: int = 200) -> Picture:
    """Project a series of maps along z, as a picture that moves to and fro; all frames have one grey scale."""
    planes = fourier_crop(torch.stack([volume.values.sum(0) for volume in volumes]), side).numpy()
    frames = to_grey(planes)
    bar_A, bar_percent = scale_bar(volumes[0].box * volumes[0].voxel_size_A)
    there_and_back = np.concatenate([frames, frames[-2:0:-1]])
    seconds = max(0.08, min(0.4, 2.5 / len(frames)))
    return Picture(
        movie_uri(there_and_back, seconds), title, f"Projections of the maps {title} along z", bar_A, bar_percent
    )
