from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.errors import ConfigError, InputError
from vitreous.simulate.config import SpecimenConfig
from vitreous.simulate.motions import (
    FrameSeries,
    Hinge,
    HingeTurn,
    Mixture,
    Rigid,
    common_centre_A,
    phantom_hinge,
    read_trajectory,
)
from vitreous.simulate.phantom import Phantom
from vitreous.simulate.specimen import build_specimen

ATOMS = Phantom().atoms()


def test_the_motion_of_the_phantom_is_the_phantom_at_each_angle() -> None:
    states = phantom_hinge((-20.0, 0.0, 15.0)).states()
    assert [state.coordinates for state in states] == [(-20.0,), (0.0,), (15.0,)]
    for state in states:
        torch.testing.assert_close(state.atoms.xyz_A, Phantom(state.coordinates[0]).atoms().xyz_A)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    hinge = Hinge(("C",), (1.0, 2.0, 0.0), (0.0, 0.0, 2.0))
    (state,) = HingeTurn(ATOMS, hinge, (90.0,)).states()
    moving = ATOMS.in_chains(("C",))
    x, y, z = (ATOMS.xyz_A[moving] - torch.tensor([1.0, 2.0, 0.0])).unbind(1)
    torch.testing.assert_close(state.atoms.xyz_A[moving], torch.stack([1 - y, 2 + x, z], 1))


@pytest.mark.parametrize(
    ("hinge", "what"),
    [
        (Hinge(("Z",), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), "--hinge-chains"),
        (Hinge(("A", "B", "C", "D"), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), "--hinge-chains"),
        (Hinge(("A",), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), "--hinge-axis"),
    ],
)
def test_impossible_hinges_are_refused(hinge: Hinge, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        HingeTurn(ATOMS, hinge, (10.0,)).states()


def test_interpolated_states_lie_on_the_line_between_frames() -> None:
    frames = torch.stack([ATOMS.xyz_A, ATOMS.xyz_A + 2.0, ATOMS.xyz_A + 10.0])
    states = FrameSeries(ATOMS, frames, n_states=5).states()
    offsets = [float((state.atoms.xyz_A - ATOMS.xyz_A).mean()) for state in states]
    assert offsets == pytest.approx([0.0, 1.0, 2.0, 6.0, 10.0])
    assert [state.coordinates[0] for state in states] == [0.0, 0.5, 1.0, 1.5, 2.0]
    given = FrameSeries(ATOMS, frames).states()
    assert all(torch.equal(state.atoms.xyz_A, frame) for state, frame in zip(given, frames))


def test_weights_of_a_mixture_are_shared_by_the_states_of_its_parts() -> None:
    mixture = Mixture((phantom_hinge((0.0, 10.0)), Rigid(ATOMS)), weights=(1.0, 3.0))
    assert [state.weight for state in mixture.states()] == [0.5, 0.5, 3.0]
    assert [state.coordinates[0] for state in mixture.states()] == [0.0, 0.0, 1.0]
    with pytest.raises(ConfigError, match="--weights"):
        Mixture((Rigid(ATOMS),), weights=(1.0, 2.0)).states()


@pytest.mark.parametrize("shared_frame", [True, False])
def test_a_mixture_keeps_its_frame_or_centres_each_part(*, shared_frame: bool) -> None:
    moved = Rigid(ATOMS.at(ATOMS.xyz_A + 30.0))
    first, second = Mixture((Rigid(ATOMS), moved), shared_frame=shared_frame).states()
    apart = second.atoms.centre_of_mass_A - first.atoms.centre_of_mass_A
    torch.testing.assert_close(apart, torch.full((3,), 30.0 if shared_frame else 0.0).double(), atol=1e-9, rtol=0)


def test_states_share_the_mean_of_their_centres_of_mass() -> None:
    states = [replace(s, weight=w) for s, w in zip(phantom_hinge((-30.0, 30.0)).states(), (1.0, 3.0))]
    first, second = (state.atoms.centre_of_mass_A for state in states)
    torch.testing.assert_close(common_centre_A(states), (first + 3 * second) / 4)


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_a_trajectory_is_read_as_it_was_written(tmp_path: Path) -> None:
    xyz = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
    path = save(tmp_path / "t.npz", xyz=xyz, element=np.array(["C", "N", "O", "S"]), chain=np.array(list("AABB")))
    series = read_trajectory(path)
    assert torch.equal(series.xyz_A, torch.from_numpy(xyz).double())
    assert series.atoms.chain.tolist() == list("AABB")
    states = build_specimen(str(path), SpecimenConfig(states=3)).states()
    torch.testing.assert_close(states[1].atoms.xyz_A, torch.from_numpy(xyz.mean(0)).double())


@pytest.mark.parametrize(
    "arrays",
    [
        {"xyz": np.zeros((2, 4, 3))},
        {"xyz": np.zeros((2, 4, 3)), "element": np.array(["C"] * 3)},
        {"xyz": np.zeros((4, 3)), "element": np.array(["C"] * 4)},
        {"xyz": np.full((2, 1, 3), np.nan), "element": np.array(["C"])},
        {"xyz": np.zeros((2, 1, 3)), "element": np.array(["Qq"])},
        {"xyz": np.zeros((2, 1, 3)), "element": np.array([{"a": 1}], dtype=object)},
        {"xyz": np.zeros((2, 1, 3)), "element": np.array(["C"]), "b_A2": np.zeros(5)},
        {"xyz": np.zeros((2, 1, 3)), "element": np.array(["C"]), "b_A2": np.array(["x"])},
    ],
)
def test_unusable_trajectories_are_refused(tmp_path: Path, arrays: dict[str, object]) -> None:
    with pytest.raises(InputError):
        read_trajectory(save(tmp_path / "t.npz", **arrays))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_text("text")
    with pytest.raises(InputError, match="cannot be read as a trajectory"):
        read_trajectory(tmp_path / "t.npz")
    with pytest.raises(InputError, match="no such trajectory"):
        read_trajectory(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("structure", "options", "what"),
    [
        ("phantom", {"hinge_chains": ("A",)}, "has its own hinge"),
        ("phantom", {"hinge_angles": (60.0,)}, "cannot turn so far"),
        ("phantom", {"states": 4}, "--states needs the ends"),
        ("model.cif", {"hinge_angles": (10.0,)}, "needs to know the hinge"),
        ("frames.npz", {"hinge_angles": (10.0,)}, "does not go with a trajectory"),
        ("phantom", {"weights": (1.0,)}, "--weights needs --mixture"),
        ("phantom", {"states": 0}, "--states must be"),
    ],
)
def test_options_that_do_not_fit_are_refused(structure: str, options: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        build_specimen(structure, SpecimenConfig(**options))  # type: ignore[arg-type]


def test_adenylate_kinase_closes_over_its_trajectory(shared_data: Path) -> None:
    states = build_specimen(str(shared_data / "conformations" / "adk_dims.npz"), SpecimenConfig(states=4)).states()
    spread = [float((s.atoms.xyz_A - s.atoms.centre_of_mass_A).norm(dim=1).square().mean().sqrt()) for s in states]
    assert abs(spread[0] - spread[-1]) > 1.0
