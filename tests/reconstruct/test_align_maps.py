"""Moving and aligning maps: known moves are recovered."""

import numpy as np
import pytest
import torch

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.fourier.filters import low_pass
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import mirror_rotations, random_rotations, rotation_angle_deg, rotation_from_vector
from vitreous.reconstruct.align_maps import align_maps, mirror_map, rotate_map
from vitreous.reconstruct.masks import sphere_mask

VOXEL_A = 2.5


def beads(n: int = 120, seed: int = 0) -> torch.Tensor:
    """Positions ``(x, y, z)`` in voxels of an asymmetric cloud within 14 voxels of the centre."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator) * torch.tensor([6.0, 4.0, 7.0])
    return points * (14 / points.norm(dim=-1, keepdim=True)).clamp_max(1)


def density(points: torch.Tensor, box: int, sigma: float = 1.5) -> Volume:
    """Gaussians at points given in voxels from the centre: the closed form that moves are compared with."""
    axis = torch.arange(box) - box // 2
    x, y, z = (torch.exp(-((axis - points[:, i : i + 1]) ** 2) / (2 * sigma**2)) for i in range(3))
    return Volume(torch.einsum("pz,py,px->zyx", z, y, x), VOXEL_A)


@pytest.mark.parametrize("box", [47, 48])
def test_rotate_moves_matter_to_R_r_plus_shift(box: int, generator: torch.Generator) -> None:
    R, shift = random_rotations(1, generator)[0], torch.tensor([1.3, -2.2, 0.7])
    moved = rotate_map(density(beads(), box), R, shift * VOXEL_A)
    expected = density(beads() @ R.T + shift, box)
    assert (moved.values - expected.values).abs().max() < 3e-3 * expected.values.max()
    assert fsc(moved.values, expected.values)[: box // 4].min() > 0.9999


def test_there_and_back_is_the_identity(generator: torch.Generator) -> None:
    volume = density(beads(), 48)
    R = random_rotations(1, generator)[0]
    back = rotate_map(rotate_map(volume, R), R.T)
    assert (back.values - volume.values).abs().max() < 3e-3 * volume.values.max()


def test_a_quarter_turn_is_exact() -> None:
    """90° about z takes +x to +y: for an odd box that is a permutation of the voxels."""
    volume = density(beads(), 47)
    quarter = rotation_from_vector(torch.tensor([[0.0, 0.0, torch.pi / 2]]))[0]
    expected = torch.from_numpy(np.rot90(volume.values.numpy(), axes=(2, 1)).copy())
    assert (rotate_map(volume, quarter).values - expected).abs().max() < 1e-4 * volume.values.max()


def test_interpolation_error_is_what_the_docstring_says(generator: torch.Generator) -> None:
    """A map whose power ends near 0.75 Nyquist (Gaussians of one voxel)."""
    R, box = random_rotations(1, generator)[0], 64
    points = beads(300)
    curve = fsc(
        rotate_map(density(points, box, 1.0), R).values,
        density(points @ R.T, box, 1.0).values,
    )
    assert curve[1 : int(0.75 * box / 2) + 1].min() > 0.998
    assert curve[-1] > 0.9


@pytest.mark.parametrize("box", [31, 32])
def test_mirror_is_z_to_minus_z_and_its_own_inverse(box: int) -> None:
    points = beads() * 0.4
    mirrored = mirror_map(density(points, box))
    expected = density(points * torch.tensor([1.0, 1.0, -1.0]), box)
    inner = slice(1, None)  # the first section of an even box has no mate
    torch.testing.assert_close(mirrored.values[inner], expected.values[inner], atol=1e-6, rtol=0)
    assert torch.equal(mirror_map(mirrored).values, density(points, box).values)


def test_mirror_and_turn_commute_as_the_rotations_say(generator: torch.Generator) -> None:
    """``J (R V) = (J R J)(J V)``."""
    volume, R = density(beads(), 47), random_rotations(1, generator)
    first = mirror_map(rotate_map(volume, R[0]))
    second = rotate_map(mirror_map(volume), mirror_rotations(R)[0])
    torch.testing.assert_close(first.values, second.values, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("box", "mirrored", "noise"), [(48, False, 0.0), (47, True, 0.5)])
def test_known_moves_are_recovered(box: int, mirrored: bool, noise: float) -> None:
    generator = torch.Generator().manual_seed(box)
    R, shift = random_rotations(1, generator)[0], torch.tensor([2.3, -1.6, 3.1])
    points = beads()
    seen = points * torch.tensor([1.0, 1.0, -1.0]) if mirrored else points
    target = density(seen @ R.T + shift, box)
    clean = target.values
    grain = torch.randn(clean.shape, generator=generator) * noise * clean.std()
    found = align_maps(density(points, box), Volume(clean + grain, VOXEL_A))
    assert found.mirrored is mirrored
    assert rotation_angle_deg(found.rotation[None], R[None]) < 0.5
    assert (found.translation_A - shift * VOXEL_A).norm() < 0.2 * VOXEL_A
    assert fsc(found.volume.values, clean)[1 : box // 4].min() > 0.995
    assert found.other_hand_score is not None
    assert found.other_hand_score < 0.6 * found.score


def test_large_boxes_are_aligned_on_a_smaller_copy() -> None:
    """A box above the working size: the shift comes back in Å of the full map."""
    points = beads(60) * 1.5
    R = rotation_from_vector(torch.tensor([[0.9, -0.4, 1.7]]))[0]
    shift = torch.tensor([5.0, -8.0, 3.0])
    found = align_maps(density(points, 100, 2.5), density(points @ R.T + shift, 100, 2.5), allow_mirror=False)
    assert rotation_angle_deg(found.rotation[None], R[None]) < 0.5
    assert (found.translation_A - shift * VOXEL_A).norm() < 0.2 * VOXEL_A
    assert found.other_hand_score is None
    assert found.volume.box == 100


def test_maps_on_different_grids_are_refused() -> None:
    volume = density(beads(), 16)
    for other in (density(beads(), 20), Volume(volume.values, 3.0)):
        with pytest.raises(InputError, match="Resample one of them"):
            align_maps(volume, other)


@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_empty_maps_are_refused(fill: float) -> None:
    volume = density(beads(), 16)
    with pytest.raises(InputError, match="map to align is constant or holds NaN"):
        align_maps(Volume(torch.full((16, 16, 16), fill), VOXEL_A), volume)


@pytest.mark.parametrize("cutoff", [5.0, 7.0, 9.0])
def test_a_low_passed_map_is_found_on_itself(cutoff: float, generator: torch.Generator) -> None:
    values = torch.randn(33, 33, 33, generator=generator) * sphere_mask(33, 10.0, 3.0)
    target = Volume(low_pass(values, 10.0), 2.0)
    found = align_maps(Volume(low_pass(target.values, cutoff), 2.0), target)
    assert not found.mirrored
    assert found.score <= 1.0
    assert float(torch.linalg.vector_norm(found.translation_A)) < 0.2
    assert float(rotation_angle_deg(found.rotation[None], torch.eye(3)[None])) < 0.5
