"""Shapes as types: the jaxtyping aliases that public functions use.

Arrays of maps are indexed ``[z, y, x]``, images ``[y, x]``; vectors are written ``(x, y, z)``.
"""

from pathlib import Path

from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

__all__ = [
    "Bool",
    "Complex",
    "Float",
    "Images",
    "ImagesFT",
    "Int",
    "Map",
    "PathLike",
    "Rotations",
    "Shifts",
    "Tensor",
]

PathLike = str | Path

Images = Float[Tensor, "n y x"]
"""Real images."""

ImagesFT = Complex[Tensor, "n y half_x"]
"""Centred half-plane transforms of real images (see :func:`vitreous.fourier.transform.rfft2_centred`)."""

Map = Float[Tensor, "z y x"]
"""A real-space map."""

Rotations = Float[Tensor, "n 3 3"]
"""Rotations R with ``r_lab = R @ r_particle``."""

Shifts = Float[Tensor, "n 2"]
"""Where the particle's centre lies relative to the box centre, ``(x, y)``."""
