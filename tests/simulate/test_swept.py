"""What a hinge sweeps lies where the simulated maps change, and nowhere else."""

import torch

from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.motions import PHANTOM_HINGE, Hinge, HingeTurn, phantom_hinge
from vitreous.simulate.phantom import HINGE_CHAINS, Phantom
from vitreous.simulate.stack import plan_simulation
from vitreous.simulate.swept import highest_density, swept_density

BOX = 24


def test_maps_of_a_simulation_change_within_what_is_swept_alone() -> None:
    motion = phantom_hinge((-30.0, -10.0, 10.0, 30.0))
    plan = plan_simulation(motion.states(), SimulationConfig(n=1, box=BOX))
    maps = torch.stack([plan.density(state).values for state in plan.states])
    changes = maps.amax(0) - maps.amin(0)
    swept = swept_density(motion, plan.grid, plan.centre_A).values
    outside = swept < 0.02 * swept.max()
    assert 0.7 < float(outside.double().mean()) < 0.99
    assert float(changes[outside].max()) < 0.1 * float(changes.max())
    highest = highest_density((state.atoms for state in plan.states), plan.grid, plan.centre_A)
    torch.testing.assert_close(highest.values, maps.amax(0))


def test_one_angle_sweeps_the_density_of_the_moving_part_there() -> None:
    atoms, centre_A = Phantom(20.0).atoms(), torch.tensor([3.0, -4.0, 5.0], dtype=torch.float64)
    grid = DensityGrid(BOX, 10.0, 25.0)
    arm = atoms.select(atoms.in_chains(HINGE_CHAINS))
    expected = atoms_to_density(arm, grid, centre_A).values
    torch.testing.assert_close(swept_density(phantom_hinge((20.0,)), grid, centre_A).values, expected)


def test_half_turns_about_the_centre_sweep_what_is_symmetric() -> None:
    atoms, axis = Phantom().atoms(), (0.0, 0.0, 1.0)
    centre = (0.0, 0.0, 0.0)
    motion = HingeTurn(atoms, Hinge(PHANTOM_HINGE.chains, centre, axis), (0.0, 180.0))
    grid = DensityGrid(BOX + 1, 12.0, 30.0)  # odd, so that a half turn takes voxels to voxels
    swept = swept_density(motion, grid, torch.tensor(centre, dtype=torch.float64)).values
    torch.testing.assert_close(swept, swept.flip(1, 2), atol=1e-3 * float(swept.max()), rtol=0)
