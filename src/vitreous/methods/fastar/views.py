"""What the pose network sees: standard views in units of the particle's diameter."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vitreous.typing import Float, Int

FIELD_PER_DIAMETER = 4.0 / 3.0
"""Side of a standard view over the particle's diameter."""

CTF_UNKNOWN, CTF_FLIPPED, CTF_MULTIPLIED = 0, 1, 2
"""What was done about the CTF: nothing; phases flipped; images multiplied by it."""


@dataclass(frozen=True)
class Views:
    """Sets of standard views ``[b, n, …]``; the first view of a set is its reference.

    Attributes
    ----------
    images
        ``[b, n, box, box]``; before phase flipping or multiplication, their noise is white with variance 1.
    ctf_size
        Root mean square of the CTF over each shell 1 … box/2 − 1 ``[b, n, shells]``: its square is the power of
        noise that was multiplied by the CTF. 1 where it is unknown.
    treatment
        What was done about the CTF, per set: one of the constants of this module.
    """

    images: Float[Tensor, "b n y x"]
    ctf_size: Float[Tensor, "b n shells"]
    treatment: Int[Tensor, " b"]

    def to(self, device: torch.device | str) -> "Views":
        """Move to a device."""
        return Views(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Truth:
    """Poses of sets of views: rotations ``[b, n, 3, 3]`` and shifts ``[b, n, 2]`` in units of the field."""

    rotations: Float[Tensor, "b n 3 3"]
    shifts: Float[Tensor, "b n 2"]


def soft_disc(box: int, radius: float = 0.48, edge: float = 0.06) -> Float[Tensor, "y x"]:
    """Mask of a standard view: 1 inside, a raised cosine of width ``edge`` down to 0 at ``radius`` (of the field)."""
    axis = (torch.arange(box) - box // 2) / box
    r = torch.hypot(axis[:, None], axis[None, :])
    return 0.5 + 0.5 * torch.cos(torch.pi * ((r - radius + edge) / edge).clamp(0, 1))
