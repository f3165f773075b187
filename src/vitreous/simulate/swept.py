"""Where moving parts come: the truth that maps of motion are compared with."""

from collections.abc import Iterable

import torch

from vitreous.data import Volume
from vitreous.simulate.atoms import Atoms
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.motions import HingeTurn
from vitreous.typing import Float


def highest_density(models: Iterable[Atoms], grid: DensityGrid, centre_A: Float[torch.Tensor, "3"]) -> Volume:
    """Density of several models, the highest of them at every voxel, in Å per Å³.

    Parameters
    ----------
    models
        At least one, all in one frame.
    grid
        Box, voxel size and resolution.
    centre_A
        The point of that frame that lies at voxel ``box // 2``.
    """
    maps = torch.stack([atoms_to_density(model, grid, centre_A).values for model in models])
    return Volume(maps.amax(0), grid.voxel_size_A)


def swept_density(motion: HingeTurn, grid: DensityGrid, centre_A: Float[torch.Tensor, "3"]) -> Volume:
    """Density of what a hinge turns, the highest of all its angles at every voxel, in Å per Å³.

    With the grid and the centre of a simulation (:class:`vitreous.simulate.stack.Plan`) it lies in the frame of the
    simulated poses and of their true maps.
    """
    moving = motion.atoms.moving_part(motion.hinge.chains)
    return highest_density((state.atoms.select(moving) for state in motion.states()), grid, centre_A)
