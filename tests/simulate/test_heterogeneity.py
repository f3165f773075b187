"""Random hinges, particles that stay unseen, and the recipes for motions of structures."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from vitreous.cli.main import main
from vitreous.errors import ConfigError
from vitreous.io import open_particles
from vitreous.simulate.atoms import Atoms
from vitreous.simulate.config import SimulationConfig, SpecimenConfig
from vitreous.simulate.motions import phantom_hinge
from vitreous.simulate.random_hinge import RandomHinge
from vitreous.simulate.recipes import RECIPES, find_recipe
from vitreous.simulate.specimen import build_specimen
from vitreous.simulate.split import SPLITS, unseen_states
from vitreous.simulate.truth import draw_truth

STATES = phantom_hinge(tuple(np.linspace(-30, 30, 10))).states()
CONFIG = SimulationConfig(n=4000, unseen=0.2, unseen_states=0.2)


def arm_beside_a_wall() -> Atoms:
    """A rod along x from the origin (chain B), and a wall at z = −5 (chain A)."""
    rod = np.stack([np.linspace(3, 40, 30), np.zeros(30), np.zeros(30)], 1)
    plane = np.stack(np.meshgrid(np.arange(-50, 51, 2.0), np.arange(-50, 51, 2.0), [-5.0]), -1).reshape(-1, 3)
    xyz = torch.from_numpy(np.concatenate([plane, rod]))
    n = len(xyz)
    chain = np.array(["A"] * len(plane) + ["B"] * len(rod))
    return Atoms(np.full(n, "C"), xyz, torch.full((n,), 30.0).double(), torch.ones(n).double(), chain)


def test_random_hinges_turn_rigidly_and_stay_on_their_side_of_a_wall() -> None:
    atoms = arm_beside_a_wall()
    states = RandomHinge(atoms, ("B",), (0.0, 0.0, 0.0), 60).states()
    moving = atoms.in_chains(("B",))
    tips = torch.stack([state.atoms.xyz_A[moving][-1] for state in states])
    torch.testing.assert_close(tips.norm(dim=1), torch.full((60,), 40.0).double(), atol=1e-4, rtol=0)
    assert all(torch.equal(state.atoms.xyz_A[~moving], atoms.xyz_A[~moving]) for state in states)
    assert float(tips[:, 2].min()) > -5
    assert float(tips[:, 2].max()) > 35  # from along the wall to straight away from it
    assert float(tips.mean(0)[:2].norm()) < 10
    vector = torch.tensor(states[0].coordinates)
    assert float(torch.linalg.vector_norm(vector)) <= 180
    first = RandomHinge(atoms, ("B",), (0.0, 0.0, 0.0), 3).states()
    assert [state.coordinates for state in first] == [state.coordinates for state in states[:3]]


def test_a_hinge_that_is_walled_in_is_refused() -> None:
    block = np.stack(np.meshgrid(*[np.arange(-42.0, 43.0, 3.0)] * 3), -1).reshape(-1, 3)
    free = arm_beside_a_wall()
    rod = free.xyz_A[free.in_chains(("B",))]
    n = len(block) + len(rod)
    chain = np.array(["A"] * len(block) + ["B"] * len(rod))
    ones = torch.ones(n).double()
    atoms = Atoms(np.full(n, "C"), torch.cat([torch.from_numpy(block), rod]), ones, ones, chain)
    with pytest.raises(ConfigError, match="collides with the rest"):
        RandomHinge(atoms, ("B",), (0.0, 0.0, 0.0), 2).states()


def test_every_particle_is_in_one_part_and_states_are_set_apart_whole() -> None:
    truth = draw_truth(CONFIG, STATES, 3.0)
    apart = unseen_states(10, 0.2)
    assert apart.nonzero()[:, 0].tolist() == [2, 7]  # seen states lie on both sides
    assert bool(((truth.split == 2) == apart[truth.state]).all())
    seen = truth.split[truth.split < 2]
    assert float(seen.float().mean()) == pytest.approx(0.2, abs=0.03)


def test_setting_particles_apart_changes_nothing_else() -> None:
    plain = draw_truth(replace(CONFIG, unseen=0.0, unseen_states=0.0), STATES, 3.0)
    split = draw_truth(CONFIG, STATES, 3.0)
    assert int(plain.split.max()) == 0
    assert torch.equal(plain.state, split.state)
    assert torch.equal(plain.poses.rotations, split.poses.rotations)
    assert torch.equal(plain.optics.defocus_u_A, split.optics.defocus_u_A)


def test_one_state_cannot_be_set_apart() -> None:
    with pytest.raises(ConfigError, match="sets no state apart"):
        unseen_states(1, 0.1)


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="--unseen-states cannot be used"):
        SimulationConfig(unseen_states=share)


def test_the_parts_are_files_that_flex_can_read(tmp_path: Path) -> None:
    words = ["simulate", "--recipe", "phantom-hinge-32", "--n", "60", "--unseen", "0.3", "--unseen-states", "0.2"]
    assert main([*words, "-o", str(tmp_path), "--quiet"]) == 0
    rows = list(csv.DictReader((tmp_path / "latents_truth.csv").read_text().splitlines()))
    whole = open_particles(tmp_path / "truth.star", contrast="bright")
    found = []
    for part in SPLITS:
        particles = open_particles(tmp_path / f"{part}.star", contrast="bright")
        assert particles.ids.tolist() == [row["id"] for row in rows if row["split"] == part]
        place = [whole.ids.tolist().index(name) for name in particles.ids]
        torch.testing.assert_close(particles.poses.rotations, whole.poses.rotations[place])
        found += particles.ids.tolist()
    assert sorted(found) == sorted(whole.ids.tolist())
    assert main([*words[:-4], "-o", str(tmp_path), "--quiet", "--overwrite"]) == 0
    assert not any((tmp_path / f"{part}.star").exists() for part in SPLITS)


@pytest.mark.parametrize(
    ("structure", "options", "what"),
    [
        ("phantom", {"hinge_random": 3}, "has its own hinge"),
        ("frames.npz", {"hinge_random": 3}, "does not go with a trajectory"),
        ("model.cif", {"hinge_random": 3}, "--hinge-random needs to know"),
        ("model.cif", {"hinge_random": 3, "hinge_angles": (1.0,)}, "--hinge-random excludes"),
        ("model.cif", {"hinge_random": 0}, "at least 1"),
    ],
)
def test_random_hinges_that_do_not_fit_are_refused(structure: str, options: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        build_specimen(structure, SpecimenConfig(**options))  # type: ignore[arg-type]


def test_a_mixture_needs_other_structures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "one.cif", "--recipe", "mixture-64", "-o", str(tmp_path / "x")]) == 2
    assert "--mixture" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["igg-1d", "igg-rl"])
def test_the_fab_moves_and_collides_little(shared_data: Path, name: str) -> None:
    specimen = replace(find_recipe(name).specimen)
    if specimen.hinge_random is None:
        specimen = replace(specimen, hinge_angles=specimen.hinge_angles[::10])
    else:
        specimen = replace(specimen, hinge_random=10)
    states = build_specimen(str(shared_data / "models" / "1igy.cif.gz"), specimen).states()
    moving = states[0].atoms.in_chains(specimen.hinge_chains)
    assert float(moving.double().mean()) == pytest.approx(0.31, abs=0.02)
    rest = cKDTree(states[0].atoms.xyz_A[~moving].numpy())
    close = [float((rest.query(state.atoms.xyz_A[moving].numpy())[0] < 2.5).mean()) for state in states]
    assert np.mean(close) < 0.03
    centres = torch.stack([state.atoms.xyz_A[moving].mean(0) for state in states])
    assert float((centres - centres.mean(0)).norm(dim=1).mean()) > 15  # Å


def test_recipes_for_structures_end_with_their_box() -> None:
    assert RECIPES["igg-1d"].specimen.hinge_angles[0] == -180.0
    assert len(RECIPES["igg-1d"].specimen.hinge_angles) == 100
    spacing = np.diff(RECIPES["igg-1d"].specimen.hinge_angles)
    assert spacing == pytest.approx(360 / 100)
