"""Symmetry axes of maps: symmetric blobs turned at random are brought back to the axes of their group."""

import pytest
import torch

from tests.physics.blobs import Blobs, make_blobs, relative_error
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import random_rotations, rotation_angle_deg
from vitreous.geometry.symmetry import point_group
from vitreous.reconstruct.symmetry_axes import SymmetryFrame, align_to_point_group

BOX = 32
GROUPS = ["C2", "C3", "C4", "D2", "D7", "T", "O", "I"]


def symmetric_blobs(name: str, seed: int = 0, box: int = BOX) -> Blobs:
    """Blobs with a point group in its standard frame."""
    group, unit = point_group(name), make_blobs(box, n=4, sigma=1.3, seed=seed)
    centres = torch.einsum("gij,bj->gbi", group, unit.centres).flatten(0, 1)
    return Blobs(centres, unit.weights.repeat(len(group)), unit.sigma)


def moved(blobs: Blobs, rotation: torch.Tensor, shift: torch.Tensor) -> Blobs:
    turned = blobs.rotated(rotation)
    return Blobs(turned.centres + shift, turned.weights, turned.sigma)


def random_move(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return random_rotations(1, generator)[0].double(), 4 * torch.rand(3, generator=generator).double() - 2


@pytest.mark.parametrize("name", GROUPS)
def test_axes_are_found_where_the_turned_particle_has_them(name: str) -> None:
    """Turning the group back by Q gives the particle's own operations, ``R g Rᵀ``, about its own centre."""
    R, shift = random_move(seed=1)
    frame = align_to_point_group(moved(symmetric_blobs(name), R, shift).map(BOX).float(), name)
    group, Q = point_group(name), frame.rotation.double()
    found, true = Q.T @ group @ Q, R @ group @ R.T
    errors = torch.stack([rotation_angle_deg(one.expand_as(true), true).min() for one in found])
    assert float(errors.max()) < 0.5
    assert frame.score > 0.99
    off = frame.centre_voxels.double() - shift
    axis = R[:, 2] if name.startswith("C") else torch.zeros(3, dtype=torch.float64)
    assert float((off - axis * (axis @ off)).norm()) < 0.1


def test_turned_map_has_the_group_in_a_box_of_another_size() -> None:
    """Averaging over the group changes nothing: here a 4-fold and a 2-fold turn of the voxels themselves."""
    R, shift = random_move(seed=2)
    values = moved(symmetric_blobs("D4", box=45), R, shift).map(45).float()
    turned = align_to_point_group(values, "D4").turned_map(values)
    for mate in (turned.rot90(1, (1, 2)), turned.flip((0, 1)), turned.flip((0, 2))):
        assert float(fsc(turned, mate)[1:16].min()) > 0.99
    assert float(fsc(values, values.rot90(1, (1, 2)))[1:16].mean()) < 0.8


@pytest.mark.parametrize("name", ["C2", "C3", "D2", "T"])
def test_asymmetric_map_scores_low(name: str) -> None:
    for seed in range(2):
        assert align_to_point_group(make_blobs(BOX, n=8, sigma=1.3, seed=seed).map(BOX).float(), name).score < 0.75


def test_turned_poses_give_the_same_images_of_the_turned_map() -> None:
    """Both sides in closed form: projections of the particle, and of the particle after ``r → Q (r − c)``."""
    generator = torch.Generator().manual_seed(5)
    Q, c = random_rotations(1, generator)[0], torch.tensor([1.5, -2.0, 0.7])
    rotations, shifts = random_rotations(7, generator), torch.randn(7, 2, generator=generator)
    frame, blobs = SymmetryFrame(Q, c, 1.0), make_blobs(BOX, sigma=1.6)
    turned = Blobs((blobs.centres - c.double()) @ Q.double().T, blobs.weights, blobs.sigma)
    before = blobs.projections(rotations, shifts, BOX)
    after = turned.projections(*frame.turned_poses(rotations, shifts), BOX)
    assert relative_error(after, before) < 1e-5
    assert relative_error(frame.turned_map(blobs.map(BOX).float()), turned.map(BOX).float()) < 0.01


def test_no_symmetry_leaves_the_frame_as_it_is() -> None:
    frame = align_to_point_group(make_blobs(BOX).map(BOX).float(), "C1")
    assert torch.equal(frame.rotation, torch.eye(3))
    assert torch.equal(frame.centre_voxels, torch.zeros(3))


def test_empty_maps_and_unknown_groups_are_refused() -> None:
    with pytest.raises(InputError, match="constant"):
        align_to_point_group(torch.zeros(BOX, BOX, BOX), "C2")
    with pytest.raises(ConfigError, match="point group"):
        align_to_point_group(make_blobs(BOX).map(BOX).float(), "Q7")
