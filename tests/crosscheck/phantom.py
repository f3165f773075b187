"""The map that the comparisons use."""

from functools import lru_cache

from vitreous.data import Volume
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import Phantom


@lru_cache(maxsize=2)
def phantom_map(box: int = 64) -> Volume:
    """The built-in phantom filling 80 % of the box."""
    voxel_size_A = 3.2 * 64 / box
    made = atoms_to_density(Phantom().atoms(), DensityGrid(box, voxel_size_A, 2.2 * voxel_size_A))
    return Volume(made.values.float(), voxel_size_A)
