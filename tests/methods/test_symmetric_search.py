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
from vitreous.data import Poses
from vitreous.evaluate.poses import compare_poses
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.search.axes import brought_onto_axes, symmetry_frame, symmetry_warning
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.method import Search
from vitreous.methods.search.stages import Stages
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.symmetry_axes import SymmetryFrame

BOX, N = 32, 800


class Memory:
    """A journal that holds what was saved last."""

    def __init__(self) -> None:
        self.saved: tuple[dict[str, torch.Tensor], dict[str, Any]] | None = None

    def log(self, metrics: Mapping[str, Any]) -> None:
        pass

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
