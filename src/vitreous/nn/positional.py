"""Positional encodings of points of Fourier space."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vitreous.typing import Float

Encoding = Literal["gaussian", "geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)


class PositionalEncoding(nn.Module):
    """Sines and cosines of ``f·x`` for ``3·count`` vectors f; x are frequencies in 1/pixel, up to 1/2.

    ``gaussian``: random f of standard deviation ``sigma·box/2``, kept with the parameters. The others have f along
    the axes: ``linear_lowf`` 1, 2, …; the rest geometric, between the ends of :data:`_ENDS` (the kinds of Zhong et
    al. 2021 and of the cryodrgn package).

    Parameters
    ----------
    box
        Side of the images in pixels.
    kind
        Which vectors.
    count
        A third of their number; ``box // 2`` where None.
    sigma
        Of the Gaussian kind.
    """

    vectors: Tensor

    def __init__(self, box: int, kind: Encoding = "gaussian", count: int | None = None, sigma: float = 0.5) -> None:
        super().__init__()
        count = box // 2 if count is None else count
        if kind == "gaussian":
            vectors = torch.randn(3 * count, 3) * sigma * (box // 2)
        else:
            vectors = torch.kron(torch.eye(3), _along_an_axis(kind, box // 2, count)[:, None])
        self.register_buffer("vectors", vectors)

    @property
    def features(self) -> int:
        """Length of the encoding."""
        return 2 * len(self.vectors)

    def forward(self, phases: Float[Tensor, "*n f"]) -> Float[Tensor, "*n features"]:
        """Return sines and cosines of phases ``x @ vectors.T``, which the caller makes in single precision."""
        return torch.cat([phases.sin(), phases.cos()], -1)


_ENDS = {
    "geom_ft": lambda half: (2 * half * math.pi, 2 * math.pi),
    "geom_full": lambda half: (2 * half * math.pi, 1.0),
    "geom_lowf": lambda half: (half, 1.0),
    "geom_nohighf": lambda half: (half, 2 * math.pi),
}
"""Largest and smallest length of the vectors, for half a box in pixels."""


def _along_an_axis(kind: str, half: int, count: int) -> Tensor:
    if kind == "linear_lowf":
        return torch.arange(1, count + 1, dtype=torch.float32)
    high, low = _ENDS[kind](half)
    return high * (low / high) ** torch.linspace(0, 1, count)
