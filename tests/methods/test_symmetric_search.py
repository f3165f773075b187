"""Ab initio of symmetric particles: the axes are found, and the point group is imposed on them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.crosscheck.relion import varied_optics
from tests.physics.blobs import Blobs, make_blobs, relative_error
from tests.reconstruct.scenes import PIXEL_SIZE_A, Scene, make_scene
from tests.reconstruct.test_symmetry_axes import symmetric_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.data import Poses, Result, SilentJournal, Volume
from vitreous.evaluate.poses import compare_poses
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import random_rotations, vector_from_rotation
from vitreous.methods.search.axes import (
    brought_onto_axes,
    found_axes,
    group_warnings,
    symmetry_frame,
    symmetry_warning,
)
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.method import Search
from vitreous.methods.search.refine import Refine, RefineConfig
from vitreous.methods.search.stages import Stages
from vitreous.methods.search.starts import GivenStarts
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.align_maps import rotate_map
from vitreous.reconstruct.backprojection import solve
from vitreous.reconstruct.known_poses import back_project_halves, split_half_sets
from vitreous.reconstruct.symmetry_axes import SymmetryFrame
from vitreous.reconstruct.symmetry_search import FoundGroup

BOX, N = 32, 800


class Memory:
    """A journal that holds what was saved last and all that was logged."""

    def __init__(self) -> None:
        self.saved: tuple[dict[str, torch.Tensor], dict[str, Any]] | None = None
        self.lines: list[Mapping[str, Any]] = []

    def log(self, metrics: Mapping[str, Any]) -> None:
        self.lines.append(metrics)

    def save(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        self.saved = dict(tensors), dict(values)

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        return self.saved


def symmetric_scene(name: str) -> Scene:
    return make_scene(N, BOX, snr=0.3, optics=varied_optics(N), blobs=symmetric_blobs(name, seed=1))


def test_map_and_poses_move_together() -> None:
    """Projections of the moved map at the moved poses are those of the map at its poses."""
    generator = torch.Generator().manual_seed(2)
    frame = SymmetryFrame(random_rotations(1, generator)[0], torch.tensor([0.8, -1.3, 0.5]), 1.0)
    density = make_blobs(BOX, sigma=1.8).map(BOX).float()
    start = {"map1": density, "map2": 2 * density, "noise": torch.ones(5)}
    poses = {"rotations": random_rotations(6, generator), "shifts_px": torch.randn(6, 2, generator=generator)}
    moved_start, moved_poses = brought_onto_axes(frame, start, poses)
    before, after = (
        render(FourierVolume.from_map(s["map1"]), Poses(p["rotations"], p["shifts_px"]), varied_optics(6), 1.0)
        for s, p in ((start, poses), (moved_start, moved_poses))
    )
    assert relative_error(after, before) < 0.02
    assert torch.equal(moved_start["noise"], start["noise"])
    torch.testing.assert_close(moved_start["map2"], 2 * moved_start["map1"])


def test_frame_is_taken_from_the_journal_when_a_run_goes_on() -> None:
    blobs: Blobs = symmetric_blobs("C4").rotated(random_rotations(1, torch.Generator().manual_seed(4))[0])
    journal = Memory()
    first = symmetry_frame(Stages(journal), blobs.map(BOX).float(), "C4", 9.0)
    again = symmetry_frame(Stages(journal), torch.zeros(BOX, BOX, BOX), "C4", 9.0)
    assert torch.equal(first.rotation, again.rotation)
    assert torch.equal(first.centre_voxels, again.centre_voxels)
    assert first.score == pytest.approx(again.score, abs=1e-6)


def test_warning_names_the_group_and_the_agreement() -> None:
    assert symmetry_warning(0.95, "D2") is None
    assert symmetry_warning(0.7, "D2") is None
    assert "D2" in str(symmetry_warning(0.42, "D2"))
    assert "C2" in str(symmetry_warning(0.7, "C2"))
    assert "0.42" in str(symmetry_warning(0.42, "D2"))


def test_group_is_found_once_and_taken_from_the_journal_when_a_run_goes_on() -> None:
    journal, reports = Memory(), (SilentProgress(), SilentJournal())
    blobs = symmetric_blobs("C4").rotated(random_rotations(1, torch.Generator().manual_seed(4))[0])

    def maps() -> tuple[torch.Tensor, None]:
        return blobs.map(BOX).float(), None

    def unasked() -> tuple[torch.Tensor, None]:
        raise AssertionError

    first = found_axes(Stages(journal), (SilentProgress(), journal), maps, 9.0)
    again = found_axes(Stages(journal), reports, unasked, 9.0)
    assert first.symmetry == again.symmetry == "C4"
    assert first.frame is not None
    assert again.frame is not None
    assert torch.equal(first.frame.rotation, again.frame.rotation)
    assert first.metrics == again.metrics
    assert first.warnings == again.warnings
    assert [line["symmetry"] for line in journal.lines] == ["C4"]


def test_doubts_about_a_group_are_said() -> None:
    frame = SymmetryFrame(torch.eye(3), torch.zeros(3), 1.0)
    assert group_warnings(FoundGroup("D2", frame, 0.98, 12, "D4", 0.6)) == []
    assert "cannot be told" in group_warnings(FoundGroup("C1", frame, 1.0, 3))[0]
    (nearly,) = group_warnings(FoundGroup("C1", frame, 1.0, 12, "C2", 0.88))
    assert "--symmetry C2" in nearly
    (few,) = group_warnings(FoundGroup("C3", frame, 0.98, 7))
    assert "7 shells" in few


def small_scene(name: str) -> Scene:
    """Fewer, better images of a particle whose axes lie in its standard frame."""
    return make_scene(300, BOX, snr=1.0, optics=varied_optics(300), blobs=symmetric_blobs(name, seed=1))


def turned_away(poses: Poses) -> Poses:
    """Poses of the same images against a particle in another frame."""
    frame = SymmetryFrame(random_rotations(1, torch.Generator().manual_seed(8))[0], torch.tensor([1.2, -0.8, 0.4]), 1.0)
    rotations, shifts_px = frame.turned_poses(poses.rotations, poses.shifts_A / PIXEL_SIZE_A)
    return Poses(rotations, shifts_px * PIXEL_SIZE_A)


def assert_on_the_axes_of_d2(result: Result, scene: Scene) -> None:
    assert result.symmetry == "D2"
    assert result.poses is not None
    assert result.half_maps is not None
    assert compare_poses(result.poses, scene.poses, PIXEL_SIZE_A, "D2").median_deg < 4
    values = result.half_maps[0].values[1:, 1:, 1:]
    for flipped in (values.flip((1, 2)), values.flip((0, 1))):
        assert float(fsc(values, flipped)[1:9].min()) > 0.95


def test_refinement_from_poses_finds_the_group_of_their_map() -> None:
    """Poses in a random frame; imposing D2 where they are would average what does not belong together."""
    scene = small_scene("D2")
    config = RefineConfig(symmetry="auto", diameter_A=60.0, start_A=10.0, rounds=1)
    journal = Memory()
    result = Refine(config).run(replace(scene.particles, poses=turned_away(scene.poses)), journal=journal)
    assert_on_the_axes_of_d2(result, scene)
    assert result.metrics["symmetry_share"] > 0.93
    assert "symmetry" in {line["stage"] for line in journal.lines}


def test_refinement_from_a_map_finds_its_group() -> None:
    scene = small_scene("D2")
    R = random_rotations(1, torch.Generator().manual_seed(3))[0]
    start = rotate_map(Volume(scene.truth, PIXEL_SIZE_A), R, torch.tensor([2.0, -3.0, 1.0]))
    config = RefineConfig(symmetry="auto", diameter_A=60.0, start_A=10.0, rounds=2)
    result = Refine(config).run(replace(scene.particles, poses=None), start=start)
    assert_on_the_axes_of_d2(result, scene)


def test_a_particle_without_symmetry_is_refined_where_it_is() -> None:
    scene = make_scene(300, BOX, snr=1.0, optics=varied_optics(300), blobs=make_blobs(BOX, n=10, sigma=1.3, seed=5))
    given = turned_away(scene.poses)
    config = RefineConfig(symmetry="auto", diameter_A=60.0, start_A=10.0, rounds=1)
    result = Refine(config).run(replace(scene.particles, poses=given))
    assert result.symmetry == "C1"
    assert result.poses is not None
    off = result.poses.rotations @ given.rotations.transpose(1, 2)
    assert float(vector_from_rotation(off).norm(dim=1).median()) < 0.1


def test_search_imposes_the_group_that_its_start_shows() -> None:
    """The last steps of the march, from maps of the halves in a frame of their own."""
    scene = small_scene("D2")
    particles = replace(scene.particles, half_sets=split_half_sets(scene.particles, 0))
    poses = turned_away(scene.poses)
    grids = back_project_halves(particles, poses, particles.half_sets, "C1", SilentProgress(), radius=10.0)
    first, second = (Volume(solve(grid) * BOX, BOX * PIXEL_SIZE_A / grid.box) for grid in grids)
    config = SearchConfig(
        symmetry="auto", iterations=5, minibatch=150, refine_iterations=2, search_radius=10.0, diameter_A=60.0
    )
    result = Search(config).run(replace(particles, poses=None), starts=GivenStarts((first, second), 99.0))
    assert_on_the_axes_of_d2(result, scene)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C4", "D2"])
def test_symmetric_particles_are_solved_on_their_axes(name: str) -> None:
    """Poses up to the group, and a map that its 2-fold about z leaves as it is."""
    scene = symmetric_scene(name)
    config = SearchConfig(
        symmetry=name, iterations=25, minibatch=200, refine_iterations=4, search_radius=11.0, diameter_A=50.0
    )
    result = Search(config).run(replace(scene.particles, poses=None))
    assert result.poses is not None
    assert result.volume is not None
    errors = compare_poses(result.poses, scene.poses, PIXEL_SIZE_A, name)
    assert errors.median_deg < 4.5
    assert errors.within_10_deg > 0.85
    values = result.volume.values[1:, 1:, 1:]  # the even box without its unpaired faces: its centre is a voxel
    assert float(fsc(values, values.flip((1, 2)))[1:10].min()) > 0.98
    assert not any(name in warning for warning in result.warnings)
