"""Whether particles are bright on dark."""

from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor

from vitreous.data import ImageSource

SIGNIFICANT_Z = 3.0
"""Below this the images do not tell their contrast."""

_WIDTH = 0.2
_BATCH = 16
_LARGEST_Z = 30.0

DARK_NOTE = "particles are dark on bright"
"""How reading begins its note where it inverted images; runs keep it in their manifest."""


@dataclass(frozen=True)
class ContrastEstimate:
    """The contrast of a stack and how sure it is.

    Attributes
    ----------
    sign
        +1 for bright on dark or where nothing is certain, −1 for dark on bright.
    z_score
        Significance in standard deviations, positive for bright on dark.
    """

    sign: float
    z_score: float

    @property
    def is_significant(self) -> bool:
        """Whether the images tell their contrast."""
        return abs(self.z_score) >= SIGNIFICANT_Z


def detect_contrast(source: ImageSource, sample: int = 200, seed: int = 0) -> ContrastEstimate:
    """Tell from ``sample`` random images whether particles are brighter or darker than what surrounds them.

    Each image gives one number: its mean under a Gaussian of σ = 0.2 box minus its mean over the inscribed circle.
    Only frequencies below about 1/box diameters count in it, where the CTF of an underfocused image is small but
    positive, and it is linear, so that noise of any kind averages out. The sign is that of the mean over the images;
    Student's t, expressed as a z-score, tells how far from chance it is.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(source), generator=generator)[:sample].sort().values
    weights = _centre_minus_surroundings(source.box)
    batches = torch.split(rows, _BATCH)
    values = torch.cat([torch.einsum("nyx,yx->n", source.read(batch), weights) for batch in batches]).double()
    z_score = _z_score(values)
    return ContrastEstimate(-1.0 if z_score <= -SIGNIFICANT_Z else 1.0, z_score)


def _centre_minus_surroundings(box: int) -> Tensor:
    offset = torch.arange(box, dtype=torch.float32) - box // 2
    radius = torch.hypot(offset[:, None], offset) / box
    inside = (radius <= 0.5).to(torch.float32)
    bump = torch.exp(-(radius**2) / (2 * _WIDTH**2)) * inside
    return bump / bump.sum() - inside / inside.sum()


def _z_score(values: Tensor) -> float:
    """Express Student's t of the mean against zero as the normal deviate of the same probability."""
    n = len(values)
    spread = float(values.std()) if n > 1 else 0.0
    if spread == 0:
        return 0.0
    t = float(values.mean()) / (spread / n**0.5)
    deviate = min(-float(special.ndtri(special.stdtr(n - 1, -abs(t)))), _LARGEST_Z)
    return deviate if t > 0 else -deviate
