import math
from itertools import pairwise

import gemmi
import pytest
import torch

from vitreous.errors import ConfigError
from vitreous.geometry.rotations import MIRROR, random_rotations, rotation_angle_deg
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.phantom import HINGE_AXIS, HINGE_CHAINS, HINGE_POINT_A, Phantom

GRID = DensityGrid(32, 6.0, 18.0)


def correlations(transforms: torch.Tensor) -> torch.Tensor:
    atoms = Phantom().atoms()
    atoms = atoms.select(torch.arange(len(atoms)) % 5 == 0)  # enough at this resolution
    centre = atoms.centre_of_mass_A
    reference = atoms_to_density(atoms, GRID).values.flatten()
    reference = (reference - reference.mean()) / reference.norm()
    found = []
    for matrix in transforms.double():
        moved = atoms_to_density(atoms.at((atoms.xyz_A - centre) @ matrix.T), GRID).values.flatten()
        moved = moved - moved.mean()
        found.append((reference @ moved / moved.norm() / (reference.norm())).item())
    return torch.tensor(found)


def half_turns(n: int) -> torch.Tensor:
    """Half turns about axes spread evenly over the half sphere."""
    i = torch.arange(n) + 0.5
    z, azimuth = i / n, math.pi * (1 + 5**0.5) * i
    axis = torch.stack([(1 - z**2).sqrt() * azimuth.cos(), (1 - z**2).sqrt() * azimuth.sin(), z], 1)
    return 2 * axis[:, :, None] * axis[:, None, :] - torch.eye(3)


def test_no_half_turn_maps_it_onto_itself_at_18_A() -> None:
    assert float(correlations(half_turns(40)).max()) < 0.75


def test_no_other_turn_maps_it_onto_itself_at_18_A(generator: torch.Generator) -> None:
    R = random_rotations(40, generator)
    far = rotation_angle_deg(R, torch.eye(3).expand(40, 3, 3)) > 45
    assert float(correlations(R[far]).max()) < 0.75


def test_it_is_chiral_at_18_A(generator: torch.Generator) -> None:
    mirrored = random_rotations(40, generator) @ MIRROR
    assert float(correlations(mirrored).max()) < 0.85
    assert float(correlations(torch.eye(3)[None])) == pytest.approx(1.0, abs=1e-5)


def test_size_and_mass_are_as_stated() -> None:
    atoms = Phantom().atoms()
    sparse = atoms.xyz_A[::4]
    assert 150 < float(torch.cdist(sparse, sparse).max()) < 175
    assert 150e3 < float(atoms.masses_Da.sum()) < 250e3
    assert sorted(set(atoms.chain.tolist())) == ["A", "B", "C", "D"]


def test_helices_are_right_handed_and_made_of_l_residues() -> None:
    atoms = Phantom().atoms()
    xyz = atoms.xyz_A[atoms.in_chains(("A",))]
    elements = atoms.element[atoms.in_chains(("A",)).numpy()]
    starts = [i for i in range(len(elements) - 8) if "".join(elements[i : i + 4]) == "NCCO" and elements[i + 4] == "C"]
    starts = [i for i in starts if float((xyz[i + 1] - xyz[i]).norm()) < 1.8]
    position = [[gemmi.Position(*xyz[i + j].tolist()) for j in range(5)] for i in starts]
    pairs = [(a, b) for a, b in pairwise(position) if 1.1 < a[2].dist(b[0]) < 1.6]
    assert len(pairs) > 500
    psi = [math.degrees(gemmi.calculate_dihedral(a[0], a[1], a[2], b[0])) for a, b in pairs]
    phi = [math.degrees(gemmi.calculate_dihedral(a[2], b[0], b[1], b[2])) for a, b in pairs]
    assert all(-75 < angle < -25 for angle in psi)
    assert all(-85 < angle < -40 for angle in phi)
    for i in starts[:200]:
        n, ca, c, _, cb = xyz[i : i + 5]
        assert float(torch.linalg.cross(n - ca, c - ca) @ (cb - ca)) > 0


@pytest.mark.parametrize("angle_deg", [-40.0, 25.0])
def test_the_hinge_turns_its_domain_rigidly_by_its_angle_and_moves_nothing_else(angle_deg: float) -> None:
    rest, turned = Phantom().atoms(), Phantom(angle_deg).atoms()
    moving = rest.in_chains(HINGE_CHAINS)
    assert torch.equal(rest.xyz_A[~moving], turned.xyz_A[~moving])
    axis = torch.tensor(HINGE_AXIS, dtype=torch.float64)
    axis = axis / axis.norm()
    point = torch.tensor(HINGE_POINT_A, dtype=torch.float64)
    before, after = rest.xyz_A[moving] - point, turned.xyz_A[moving] - point
    torch.testing.assert_close(before @ axis, after @ axis)
    u, v = (r - (r @ axis)[:, None] * axis for r in (before, after))
    angle = torch.atan2(torch.linalg.cross(u, v) @ axis, (u * v).sum(1))
    torch.testing.assert_close(torch.rad2deg(angle), torch.full_like(angle, angle_deg), atol=1e-6, rtol=0)


@pytest.mark.parametrize("angle_deg", [-40.0, 0.0, 40.0])
def test_domains_touch_but_do_not_collide(angle_deg: float) -> None:
    atoms = Phantom(angle_deg).atoms()
    moving = atoms.in_chains(HINGE_CHAINS)
    nearest = torch.cdist(atoms.xyz_A[moving], atoms.xyz_A[~moving]).min(1).values
    assert float((nearest < 3).double().mean()) < 0.02
    assert float(nearest.min()) < 8


def test_it_is_the_same_every_time() -> None:
    assert torch.equal(Phantom(10.0).atoms().xyz_A, Phantom(10.0).atoms().xyz_A)


@pytest.mark.parametrize("angle_deg", [41.0, math.nan])
def test_a_turn_into_another_domain_is_refused(angle_deg: float) -> None:
    with pytest.raises(ConfigError, match="hinge cannot turn so far"):
        Phantom(angle_deg)
