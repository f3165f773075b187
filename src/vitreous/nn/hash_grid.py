"""Features of points of space, held at the vertices of grids of several resolutions (Müller et al. 2022, section 3)."""

import math

import torch
from torch import Tensor, nn

from vitreous.typing import Float, Int

_SMALL = 1e-4
_CPU_READS, _GPU_READS = 1 << 20, 1 << 27
"""Vertices that are read at a time: larger arrays, above 32 MB, come from the system with every page still to be made,
which takes longer than the reads."""

_PRIMES = (1, 2_654_435_761, 805_459_861)


class HashGrid(nn.Module):
    """Multi-resolution hash encoding of points of a cube (Müller et al. 2022, doi:10.1145/3528223.3530127).

    Every level has a grid over the cube and a table of as many feature vectors as all other levels have. A level whose
    vertices are no more than that numbers them one by one; in a finer one, vertices that hash alike share an entry
    (equation 4). The features of a point are those of the eight vertices around it, interpolated trilinearly, level by
    level.

    Parameters
    ----------
    levels, features
        Number of grids, and features of each.
    log2_entries
        Binary logarithm of the number of entries of a table.
    base, finest
        Cells along the cube at the first level and at the last; those between grow geometrically (equations 2 and 3).
    """

    sides: Tensor
    strides: Tensor
    first_rows: Tensor

    def __init__(self, *, levels: int, features: int, log2_entries: int, base: int, finest: int) -> None:
        super().__init__()
        sides, entries = level_sides(levels, base, finest), 1 << log2_entries
        self.entries = entries
        self.numbered = sum((side + 1) ** 3 <= entries for side in sides)
        strides = [
            (1, side + 1, (side + 1) ** 2) if level < self.numbered else _PRIMES for level, side in enumerate(sides)
        ]
        self.table = nn.Parameter(_SMALL * (2 * torch.rand(features, levels * entries) - 1))
        self.register_buffer("sides", torch.tensor(sides, dtype=torch.float32)[:, None], persistent=False)
        self.register_buffer("strides", torch.tensor(strides).T[:, :, None].contiguous(), persistent=False)
        self.register_buffer("first_rows", entries * torch.arange(levels)[:, None], persistent=False)

    @property
    def outputs(self) -> int:
        """Length of the encoding."""
        return len(self.sides) * len(self.table)

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n outputs"]:
        """Return the features of points ``(x, y, z)`` in [−1, 1]³, in the precision of the tables."""
        with torch.autocast(points.device.type, enabled=False):
            at_a_time = max(1, (_CPU_READS if points.device.type == "cpu" else _GPU_READS) // (8 * len(self.sides)))
            found = [self._interpolated(some) for some in points.reshape(-1, 3).to(self.table).split(at_a_time)]
            return torch.cat(found).reshape(*points.shape[:-1], self.outputs)

    def _interpolated(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n outputs"]:
        scaled = (points.T[:, None] + 1) / 2 * self.sides
        cells = torch.minimum(scaled.detach().floor().clamp_min(0), self.sides - 1)
        rows, weights = self._rows(cells.long()), _corner_weights(scaled - cells)
        # One feature at a time: the gradient of reads of single numbers is written several times as fast. That of
        # index_select is summed in order: repeated with several threads, training ends with the same bits.
        read = (column.index_select(0, rows.flatten()).view(rows.shape) for column in self.table)
        found = torch.stack([(weights * each).sum(0) for each in read])
        return found.permute(2, 1, 0).reshape(len(points), self.outputs)

    def _rows(self, cells: Int[Tensor, "3 levels n"]) -> Int[Tensor, "8 levels n"]:
        """Entries of the eight vertices of cells: sums of the axes' parts, or their exclusive or."""
        x, y, z = _corners(torch.stack([cells, cells + 1]) * self.strides)
        few = self.numbered
        numbered = x[..., :few, :] + y[..., :few, :] + z[..., :few, :]
        hashed = (x[..., few:, :] ^ y[..., few:, :] ^ z[..., few:, :]) & (self.entries - 1)
        return (torch.cat([numbered, hashed], -2) + self.first_rows).flatten(0, 2)


def level_sides(levels: int, base: int, finest: int) -> list[int]:
    """Cells along the cube at every level: ``⌊base · bˡ⌋`` with ``b = (finest / base)^(1 / (levels − 1))``."""
    growth = math.log(finest / base) / max(levels - 1, 1)
    return [math.floor(base * math.exp(growth * level) + 1e-6) for level in range(levels)]


def _corner_weights(shares: Float[Tensor, "3 levels n"]) -> Float[Tensor, "8 levels n"]:
    """Trilinear weights of the vertices of a cell, x running fastest, of points at ``shares`` of its sides."""
    x, y, z = _corners(torch.stack([1 - shares, shares]))
    return (x * y * z).flatten(0, 2)


def _corners(ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers ``[2, 3, levels, n]`` of both ends of x, y and z, each such that it spreads over the vertices."""
    return ends[None, None, :, 0], ends[None, :, None, 1], ends[:, None, None, 2]
