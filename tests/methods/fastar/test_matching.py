"""Rays against the reference's, and against the map that all views' rays make."""

import math
from dataclasses import replace

import pytest
import torch

from tests.methods.fastar.small import LINES
from vitreous.fourier.transform import irfft2_centred
from vitreous.geometry.planar_maps import relative_rotations
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.matching import RayMatching, bilinear_filters
from vitreous.methods.fastar.ray_map import RayMap, RoughPoses
from vitreous.methods.fastar.rays import Rays
from vitreous.methods.fastar.tokens import LineTokens
from vitreous.methods.fastar.views import Views
from vitreous.simulate.bead_views import project_beads

MODEL = replace(LINES, map_directions=200)
N = 12


class Planted:
    """Clean views of one structure, with their rays and poses."""

    def __init__(self, generator: torch.Generator, shift: float = 0.0, noise: float = 0.0) -> None:
        self.beads = 0.06 * torch.randn(1, 40, 3, generator=generator)
        self.rotations = random_rotations(N, generator)[None]
        self.shifts = shift * torch.randn(1, N, 2, generator=generator)
        self.noise = noise * torch.randn(1, N, MODEL.box, MODEL.box, generator=generator)

    def rays(self, *, shifted: bool = True) -> Rays:
        shifts = self.shifts if shifted else torch.zeros_like(self.shifts)
        transforms = project_beads(self.beads, torch.ones(1, 40), self.rotations, shifts, MODEL.box)
        images = 300 * irfft2_centred(transforms, MODEL.box) + self.noise
        views = Views(images, torch.ones(1, N, MODEL.box // 2 - 1), torch.zeros(1).long())
        found = LineTokens(MODEL)(views).rays
        assert found is not None
        return found

    def poses(self) -> RoughPoses:
        return RoughPoses(relative_rotations(self.rotations), self.shifts, torch.ones(1, N))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.detach().flatten(), b.flatten(), dim=0))


def test_recentred_rays_are_those_of_centred_views(generator: torch.Generator) -> None:
    planted = Planted(generator, shift=0.01)
    shifted, centred = planted.rays(), planted.rays(shifted=False)
    same = Rays(centred.raw, shifted.mean, shifted.scale).whitened()
    assert correlation(shifted.recentred(planted.shifts), same) > 0.995
    assert correlation(shifted.whitened(), same) < 0.9


@pytest.mark.parametrize("filters", [1, 3])
def test_common_lines_stand_out(filters: int, generator: torch.Generator) -> None:
    """The strongest of 48 × 48 correlations lies where the two slices meet: along ``z_1 × z_i`` in both."""
    planted = Planted(generator)
    matching = RayMatching(32, 2, replace(MODEL, matches=filters))
    whitened = planted.rays().whitened()
    found = matching.correlate(whitened[:, 1:], whitened[:, 0])[0, :, :, filters // 2]
    R = planted.rotations[0]
    right = 0
    for i in range(1, N):
        line = torch.linalg.cross(R[0, 2], R[i, 2])
        angles = [math.atan2(*(float(x) for x in reversed((R[v] @ line)[:2]))) for v in (i, 0)]
        expected = torch.tensor(angles) * MODEL.lines / (2 * math.pi)
        peak = torch.tensor(divmod(int(found[i - 1].argmax()), MODEL.lines)).float()
        half = MODEL.lines // 2
        off = [((peak - expected + turn + half) % MODEL.lines - half).abs().max() for turn in (0, half)]
        right += min(float(o) for o in off) <= 2
    assert right >= 6  # by chance, 1 of 100 pairs


def test_first_filters_expect_shifts_along_the_line() -> None:
    filters = bilinear_filters(3, 15)
    torch.testing.assert_close(filters[1], torch.eye(2).expand(15, 2, 2))
    turned = 2 * math.pi * 0.03
    torch.testing.assert_close(filters[2, 0] / filters[2, 0].norm() * math.sqrt(2), rotation(turned), atol=1e-5, rtol=0)


def rotation(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, s], [-s, c]])


def test_map_holds_the_structure_in_the_frame_of_the_reference(generator: torch.Generator) -> None:
    planted = Planted(generator, shift=0.01)
    ray_map, rays = RayMap(32, MODEL), planted.rays()
    gathered = ray_map.gather(rays.recentred(planted.shifts), planted.poses()).total()
    shells = torch.arange(1, MODEL.shells + 1)
    in_frame = planted.beads[0] @ planted.rotations[0, 0].T
    phases = -2 * math.pi * (ray_map.directions @ in_frame.T)[:, None] * shells[:, None]
    exact = torch.stack([phases.cos().sum(-1), phases.sin().sum(-1)], -1)
    whitened = (exact - exact.mean(0)) / exact.std(0)
    found = gathered.values[0].unflatten(-1, (2, -1)).mT / gathered.weights[0, :, None, None]
    covered = gathered.weights[0] > gathered.weights[0].mean()
    assert covered.sum() > 60
    assert correlation(found[covered][:, :8], whitened[covered][:, :8]) > 0.75
    assert abs(correlation(found[covered][:, :8], whitened[covered].roll(7, 0)[:, :8])) < 0.3


def test_a_view_is_compared_with_all_others_alone(generator: torch.Generator) -> None:
    planted = Planted(generator, shift=0.01, noise=1.0)
    ray_map, rays, poses = RayMap(32, MODEL), planted.rays(), planted.poses()
    torch.nn.init.normal_(ray_map.describe.weight)
    parts = rays.recentred(planted.shifts)
    own = ray_map.gather(parts, poses)
    found = ray_map.compare(parts, own.total(), own)
    for view in (0, 5):
        weights = torch.ones(1, N)
        weights[0, view] = 0
        others = ray_map.gather(parts, replace(poses, weights=weights)).total()
        alone = ray_map.compare(parts[:, view : view + 1], others)
        torch.testing.assert_close(found[:, view : view + 1], alone, atol=2e-3, rtol=1e-3)
    with_itself = ray_map.compare(parts, own.total())
    assert (with_itself - found).abs().max() > 0.1 * found.abs().max()


def test_poses_of_the_moment_are_told_apart_by_the_map(generator: torch.Generator) -> None:
    """Along the predicted directions of a view, the map agrees with the view where its pose is right."""
    planted = Planted(generator)
    ray_map, rays, poses = RayMap(32, MODEL), planted.rays(), planted.poses()
    own = ray_map.gather(rays.recentred(planted.shifts), poses)
    total = own.total()
    mean = (total.values[:, None] - own.values) / (total.weights[:, None] - own.weights + 1e-3)[..., None]
    placed = ray_map.rays @ poses.rotations.mT
    agreement = []
    for rotations in (placed, placed.roll(3, 1)):
        kernel = torch.softmax(40 * rotations @ ray_map.directions.T, -1)
        there = (kernel @ mean).unflatten(-1, (2, -1)).mT
        upper = (rotations @ ray_map.directions.T).amax(-1) > 0.98
        agreement.append(correlation(there[upper][:, :8], rays.whitened()[upper][:, :8]))
    assert agreement[0] > 0.6
    assert agreement[1] < 0.35
