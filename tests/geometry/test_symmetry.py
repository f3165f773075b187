"""Point groups: the axioms for every group, RELION's axes, and names that are refused."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from vitreous.errors import ConfigError
from vitreous.geometry.rotations import random_rotations, rotation_angle_deg, rotation_from_vector
from vitreous.geometry.symmetry import nearest_mates, point_group

ORDERS = {"C1": 1, "C2": 2, "C4": 4, "C17": 17, "D1": 2, "D2": 4, "D7": 14, "T": 12, "O": 24, "I": 60}
ORDERS |= {f"I{setting}": 60 for setting in (1, 2, 3, 4)}


@pytest.fixture(params=ORDERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def member(rotations: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Index in the group of each rotation; fails where there is none."""
    distance = (rotations.reshape(-1, 1, 9) - group.reshape(1, -1, 9)).norm(dim=-1)
    assert distance.amin(1).max() < 1e-12
    return distance.argmin(1)


def test_order_and_distinctness(name: str) -> None:
    group = point_group(name)
    assert len(group) == ORDERS[name]
    apart = torch.cdist(group.reshape(-1, 9), group.reshape(-1, 9)) + 9 * torch.eye(len(group)).double()
    assert apart.min() > 0.1


def test_elements_are_rotations(name: str) -> None:
    group = point_group(name)
    torch.testing.assert_close(group @ group.mT, torch.eye(3).double().expand_as(group), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(group), torch.ones(len(group)).double())


def test_identity_comes_first(name: str) -> None:
    assert torch.equal(point_group(name)[0], torch.eye(3).double())


def test_closure_is_a_latin_square(name: str) -> None:
    group = point_group(name)
    table = member(group[:, None] @ group[None], group).reshape(len(group), -1)
    everyone = torch.arange(len(group)).expand_as(table)
    assert torch.equal(table.sort(0).values, everyone.T)
    assert torch.equal(table.sort(1).values, everyone)


def test_inverses(name: str) -> None:
    group = point_group(name)
    assert len(member(group.mT, group).unique()) == len(group)


@pytest.mark.parametrize(
    ("name", "fold", "axis"),
    [
        ("C5", 5, (0, 0, 1)),
        ("D3", 3, (0, 0, 1)),
        ("D3", 2, (1, 0, 0)),
        ("T", 3, (0, 0, 1)),
        ("O", 4, (1, 0, 0)),
        ("O", 3, (1, 1, 1)),
        ("I", 2, (0, 0, 1)),
        ("I1", 5, (0.85065080835204, 0, 0.525731112119134)),
        ("I2", 5, (0.525731112119134, 0, 0.85065080835204)),
        ("I3", 5, (0, 0, 1)),
    ],
)
def test_axes_are_where_the_table_says(name: str, fold: int, axis: tuple[float, float, float]) -> None:
    direction = torch.tensor([axis], dtype=torch.float64)
    turn = rotation_from_vector(direction / direction.norm() * (2 * torch.pi / fold))
    member(turn, point_group(name))


@pytest.mark.crosscheck
def test_groups_are_relions(name: str, tmp_path: Path) -> None:
    relion = shutil.which("relion_refine")
    if relion is None or name == "D1":
        pytest.skip("relion_refine is not installed" if relion is None else "RELION has no D1")
    command = [relion, "--sym", name, "--o", str(tmp_path / "x"), "--print_symmetry_ops"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    blocks = re.split(r"R\(\d+\)=", text)[1:]
    numbers = [[float(x) for line in block.strip().splitlines()[:3] for x in line.split()] for block in blocks]
    theirs = torch.tensor(numbers, dtype=torch.float64)
    distance = torch.cdist(theirs, point_group(name).reshape(-1, 9))
    assert theirs.shape == (ORDERS[name], 9)
    assert distance.amin(1).max() < 1e-4  # printed with five digits
    assert len(distance.argmin(1).unique()) == ORDERS[name]


def test_nearest_mate_is_the_nearest(name: str, generator: torch.Generator) -> None:
    group, truths = point_group(name), random_rotations(40, generator).double()
    estimates = random_rotations(40, generator).double()
    found = rotation_angle_deg(nearest_mates(estimates, truths, group), estimates)
    every = torch.stack([rotation_angle_deg(truths @ g, estimates) for g in group])
    torch.testing.assert_close(found, every.amin(0))


def test_the_returned_group_may_be_changed() -> None:
    point_group("D2").zero_()
    assert torch.equal(point_group(" d2 ")[0], torch.eye(3).double())


@pytest.mark.parametrize("bad", ["", "C", "C0", "D0", "c-1", "C100", "X", "I5", "Oh", "Cs", "C4v", "TT", "4", "C1.5"])
def test_other_names_are_refused_with_examples(bad: str) -> None:
    with pytest.raises(ConfigError, match="C1, C4, D2, T, O, I"):
        point_group(bad)
