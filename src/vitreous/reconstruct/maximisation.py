"""M-step: sums of images over the poses of a grid, then insertion of one slice per rotation."""

import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc
from vitreous.physics.slices import SliceAccumulator
from vitreous.typing import Float, Rotations

_NEGLIGIBLE = 1e-3


class RotationSums:
    """Posterior-weighted sums of ``Y·C`` (centred) and ``C²`` for every rotation of a grid."""

    def __init__(self, n_rotations: int, count: int) -> None:
        self._values = torch.zeros(n_rotations, 2 * count)
        self._weights = torch.zeros(n_rotations, count)
        self._mass = torch.zeros(n_rotations)

    def add(self, weights: Float[Tensor, "m t r"], copies: Float[Tensor, "mt k2"], c2: Float[Tensor, "m k"]) -> None:
        """Add images; rotations whose summed weight is negligible are left out of the products."""
        per_rotation = weights.sum(1)
        mass = per_rotation.sum(0)
        kept = torch.nonzero(mass > _NEGLIGIBLE * len(c2) / CHUNK_SHARE)[:, 0]
        chosen = weights[:, :, kept].flatten(0, 1)
        self._values.index_add_(0, kept, chosen.T @ copies)
        self._weights.index_add_(0, kept, per_rotation[:, kept].T @ c2)
        self._mass += mass

    def insert_into(self, accumulator: SliceAccumulator, rotations: Rotations, disc: Disc) -> None:
        """Insert the summed slices of all rotations that carry weight."""
        kept = torch.nonzero(self._mass > _NEGLIGIBLE)[:, 0]
        count = self._weights.shape[1]
        values = torch.view_as_complex(self._values[kept].view(len(kept), count, 2))
        k = (disc.kx[:count].contiguous(), disc.ky[:count].contiguous())
        accumulator.add(rotations[kept].contiguous(), k, values, self._weights[kept])


CHUNK_SHARE = 10
"""Weight below 1/10 of the negligible level of a chunk is dropped: a chunk holds few images."""
