"""Pose errors against closed forms, and against an independent program."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.data import Poses
from vitreous.errors import ConfigError, InputError
from vitreous.evaluate.poses import LARGE_DEG, compare_poses, fitting_group, match_on_ids, paper_fnorm
from vitreous.geometry.rotations import (
    euler_from_rotation,
    mirror_rotations,
    random_rotations,
    rotation_from_vector,
)
from vitreous.geometry.symmetry import point_group


def turned_by(angles_deg: torch.Tensor, rotations: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn each rotation by its angle about a random axis."""
    axes = torch.nn.functional.normalize(torch.randn(len(rotations), 3, generator=generator).double(), dim=-1)
    return rotation_from_vector(axes * torch.deg2rad(angles_deg)[:, None]) @ rotations


def test_figures_of_a_known_error(generator: torch.Generator) -> None:
    """Every pose 4° off about a random axis: the F-norm of an angle θ is √8·sin(θ/2)."""
    n = 3000
    truth = Poses(random_rotations(n, generator).double(), torch.zeros(n, 2).double())
    Q = random_rotations(1, generator).double()
    R = turned_by(torch.full((n,), 4.0).double(), truth.rotations, generator)
    shift = torch.tensor([3.0, 4.0]).double() * torch.randn(n, 1, generator=generator).double().sign()
    found = compare_poses(Poses(mirror_rotations(R @ Q), shift), truth, 2.0)
    fnorm = 8**0.5 * np.sin(np.radians(2))
    assert found.hand == "mirrored"
    assert found.particles == n
    assert found.median_deg == pytest.approx(4.0, abs=0.1)
    assert found.within_10_deg == 1.0
    assert found.fnorm_mean == pytest.approx(fnorm, rel=0.01)
    assert found.fnorm_median == pytest.approx(fnorm, rel=0.02)
    assert found.squared_fnorm_median == pytest.approx(fnorm**2, rel=0.04)
    assert found.shift_mean_A == pytest.approx(5.0, rel=0.02)
    assert found.shift_mean_px == pytest.approx(2.5, rel=0.02)
    assert found.squared_shift_mean_px2 == pytest.approx(6.25, rel=0.03)


def test_share_within_ten_degrees(generator: torch.Generator) -> None:
    truth = Poses(random_rotations(1000, generator).double(), torch.zeros(1000, 2).double())
    angles = torch.full((1000,), 1.0).double()
    angles[:250] = 60.0
    estimate = Poses(turned_by(angles, truth.rotations, generator), truth.shifts_A)
    found = compare_poses(estimate, truth, 1.0)
    assert found.within_10_deg == 0.75
    assert found.median_deg == pytest.approx(1.0, abs=0.1)


def test_paper_fnorm_is_the_best_reference_view(generator: torch.Generator) -> None:
    """Equation 16, spelled out with loops over views."""
    truth, estimate = random_rotations(40, generator).double(), random_rotations(40, generator).double()
    means = []
    for i in range(40):
        errors = [torch.linalg.norm(truth[i] @ truth[j].T - estimate[i] @ estimate[j].T) for j in range(40)]
        means.append(float(sum(errors)) / 40)
    assert paper_fnorm(estimate, truth) == pytest.approx(min(means), abs=1e-4)  # sums of float32 chords


def test_paper_fnorm_of_exact_poses_is_zero(generator: torch.Generator) -> None:
    truth = random_rotations(300, generator).double()
    assert paper_fnorm(truth @ random_rotations(1, generator).double(), truth) < 1e-6


def test_paper_fnorm_is_no_better_than_the_best_rotation(generator: torch.Generator) -> None:
    """A reference view carries its own error, so the mean lies between the aligned error and √2 times it."""
    truth = Poses(random_rotations(2000, generator).double(), torch.zeros(2000, 2).double())
    noise = rotation_from_vector(0.05 * torch.randn(2000, 3, generator=generator).double())
    found = compare_poses(Poses(noise @ truth.rotations, truth.shifts_A), truth, 1.0)
    assert found.fnorm_mean <= found.paper_fnorm < 1.1 * found.fnorm_mean


@pytest.mark.parametrize("symmetry", ["C3", "O"])
def test_symmetry_mates_count_as_right(symmetry: str, generator: torch.Generator) -> None:
    group, n = point_group(symmetry), 500
    truth = Poses(random_rotations(n, generator).double(), torch.zeros(n, 2).double())
    mates = truth.rotations @ group[torch.randint(len(group), (n,), generator=generator)]
    estimate = Poses(turned_by(torch.full((n,), 2.0).double(), mates, generator), truth.shifts_A)
    found = compare_poses(estimate, truth, 1.0, symmetry)
    assert found.median_deg == pytest.approx(2.0, abs=0.2)
    assert found.paper_fnorm == pytest.approx(paper_fnorm(estimate.rotations, mates), rel=1e-5)
    assert compare_poses(estimate, truth, 1.0).within_10_deg < 0.7


@pytest.mark.parametrize("symmetry", ["C3", "C4", "C6", "D2", "D3", "T"])
def test_the_group_whose_mates_explain_the_errors_is_found(symmetry: str, generator: torch.Generator) -> None:
    """Subgroups explain half of the errors of some of these."""
    group, n = point_group(symmetry), 600
    truth = Poses(random_rotations(n, generator).double(), torch.zeros(n, 2).double())
    mates = truth.rotations @ group[torch.randint(len(group), (n,), generator=generator)]
    estimate = Poses(turned_by(torch.full((n,), 2.0).double(), mates, generator), truth.shifts_A)
    assert compare_poses(estimate, truth, 1.0).median_deg > LARGE_DEG
    found = fitting_group(estimate, truth)
    assert found is not None
    assert found[0] == symmetry
    assert found[1] == pytest.approx(2.0, abs=0.3)


def test_no_group_explains_errors_by_its_many_mates_alone(generator: torch.Generator) -> None:
    """With 60 mates, poses that have nothing to do with each other are not far apart."""
    truth, estimate = (Poses(random_rotations(200, generator), torch.zeros(200, 2)) for _ in range(2))
    assert fitting_group(estimate, truth) is None


def test_the_summary_is_json(generator: torch.Generator) -> None:
    poses = Poses(random_rotations(10, generator), torch.zeros(10, 2))
    assert json.loads(json.dumps(compare_poses(poses, poses, 1.0).summary()))["hand"] == "same"


def test_bad_input_is_refused(generator: torch.Generator) -> None:
    poses = Poses(random_rotations(3, generator), torch.zeros(3, 2))
    with pytest.raises(InputError, match="Match the particles on their ids"):
        compare_poses(poses, poses.select(torch.tensor([0, 1])), 1.0)
    with pytest.raises(InputError, match="Match the particles on their ids"):
        fitting_group(poses.select(torch.tensor([0, 1])), poses)
    with pytest.raises(ConfigError, match="C1, C4"):
        compare_poses(poses, poses, 1.0, "C4v")


def test_ids_match_over_folders_zeros_and_order() -> None:
    estimate = np.array(["000002@Extract/a.mrcs", "1@/data/b.mrcs", "10@a.mrcs"])
    truth = np.array(["1@b.mrcs", "0000010@x/y/a.mrcs", "2@a.mrcs"])
    rows, of = match_on_ids(estimate, truth)
    assert rows.tolist() == [1, 2, 0]
    assert of.tolist() == [0, 1, 2]


def test_missing_particles_are_named() -> None:
    estimate, truth = np.array(["1@a.mrcs"]), np.array(["3@a.mrcs", "1@a.mrcs", "2@a.mrcs"])
    with pytest.raises(InputError, match=r"the estimate lacks 2 of the 3 particles of the truth.*3@a.mrcs, 2@a.mrcs"):
        match_on_ids(estimate, truth)
    with pytest.raises(InputError, match="the truth lacks 2 of the 3 particles of the estimate"):
        match_on_ids(truth, estimate)
    rows, of = match_on_ids(estimate, truth, partial=True)
    assert (rows.tolist(), of.tolist()) == ([0], [1])


def test_tables_of_different_stacks_are_refused() -> None:
    for partial in (False, True):
        with pytest.raises(InputError, match="not one particle is shared"):
            match_on_ids(np.array(["1@a.mrcs"]), np.array(["1@b.mrcs"]), partial=partial)


@pytest.mark.parametrize(("ids", "message"), [
    (["1@a.mrcs", "01@x/a.mrcs"], "1 ids occur more than once in the estimate.*1@a.mrcs"),
    (["a.mrcs"], "not index@stack"),
    (["one@a.mrcs"], "not index@stack"),
])  # fmt: skip
def test_bad_ids_are_refused(ids: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_on_ids(np.array(ids), np.array(["1@a.mrcs"]))


def write_star(path: Path, poses: Poses, pixel_size_A: float) -> None:
    angles, origin = euler_from_rotation(poses.rotations), -poses.shifts_A
    rows = "".join(
        f"{i + 1:06d}@stack.mrcs 1 {a:.6f} {b:.6f} {c:.6f} {x:.6f} {y:.6f}\n"
        for i, ((a, b, c), (x, y)) in enumerate(zip(angles.tolist(), origin.tolist()))
    )
    columns = ("ImageName", "OpticsGroup", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst")
    path.write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 "
        + f"{pixel_size_A}\n\ndata_particles\n\nloop_\n"
        + "".join(f"_rln{name}\n" for name in columns)
        + rows
    )


@pytest.mark.crosscheck
@pytest.mark.parametrize(("mirrored", "wrong", "off_centre"), [(False, 150, 0.0), (True, 0, 3.0)])
def test_figures_agree_with_the_independent_scorer(
    mirrored: bool, wrong: int, off_centre: float, shared_data: Path, tmp_path: Path, generator: torch.Generator
) -> None:
    """The same pair of STAR files, with a tenth of the poses wrong, or with the estimate's centre 3 Å off."""
    script = shared_data.parent / "tools" / "score.py"
    if not script.is_file():
        pytest.skip(f"{script} is not there")
    pytest.importorskip("starfile", reason="the scorer needs starfile")
    n, pixel_size_A = 1500, 1.7
    truth = Poses(random_rotations(n, generator).double(), 4 * torch.randn(n, 2, generator=generator).double())
    R = rotation_from_vector(0.03 * torch.randn(n, 3, generator=generator).double()) @ truth.rotations
    R[:wrong] = random_rotations(wrong, generator).double()
    centre = (R @ torch.tensor([2.0, -1.0, 2.0]).double() * off_centre / 3)[:, :2]
    shifts = truth.shifts_A + centre + torch.randn(n, 2, generator=generator).double()
    estimate = R @ random_rotations(1, generator).double()
    estimate = Poses(mirror_rotations(estimate) if mirrored else estimate, shifts)
    for name, poses in (("truth", truth), ("estimate", estimate)):
        write_star(tmp_path / f"{name}.star", poses, pixel_size_A)
    command = [sys.executable, str(script), str(tmp_path / "truth.star"), str(tmp_path / "estimate.star")]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = compare_poses(estimate, truth, pixel_size_A)
    assert ours.hand == theirs["hand"]
    assert ours.fnorm_mean == pytest.approx(theirs["fnorm_mean"], abs=1e-3)
    assert ours.fnorm_median == pytest.approx(theirs["fnorm_median"], abs=1e-3)
    assert ours.median_deg == pytest.approx(theirs["deg_median"], abs=0.02)
    assert ours.within_10_deg == pytest.approx(theirs["within10"], abs=1e-3)
    assert ours.shift_mean_px == pytest.approx(theirs["shift_px_mean"], abs=2e-3)
