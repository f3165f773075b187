"""A map with its scale."""

from dataclasses import dataclass

from vitreous.typing import Map


@dataclass(frozen=True)
class Volume:
    """A cubic map ``[z, y, x]`` whose centre is voxel ``n // 2``.

    Attributes
    ----------
    values
        Densities, bright where there is matter.
    voxel_size_A
        Side of a voxel in Å.
    origin_A
        Position of voxel (0, 0, 0), ``(x, y, z)`` in Å, for programs that place maps in space.
    """

    values: Map
    voxel_size_A: float
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def box(self) -> int:
        """Side of the map in voxels."""
        return int(self.values.shape[-1])
