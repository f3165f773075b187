from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.io.samples import BOX, PIXEL_A, N, images, optics, particles, star_text, write_images, write_star

from vitreous.io import open_particles, write_relion_star


def old_table() -> dict[str, list[object]]:
    """RELION 3.0: one table, pixel size from magnification, origins in pixels."""
    table = {
        k: list(v) for k, v in particles().items() if k not in {"rlnOpticsGroup", "rlnOriginXAngst", "rlnOriginYAngst"}
    }
    constant = {
        "rlnVoltage": 200,
        "rlnSphericalAberration": 1.4,
        "rlnAmplitudeContrast": 0.07,
        "rlnMagnification": 20000,
        "rlnDetectorPixelSize": 5,
    }
    table |= {label: [value] * N for label, value in constant.items()}
    return table | {"rlnOriginX": [1.0, 2.0, -3.0, 0.5], "rlnOriginY": [0.0, -1.0, 4.0, 0.25]}


def write_old_star(folder: Path, block: str = "") -> Path:
    write_images(folder / "particles.mrcs")
    (folder / "old.star").write_text(star_text({block: old_table()}), encoding="utf-8")
    return folder / "old.star"


@pytest.mark.parametrize("block", ["", "images"])
def test_relion_30_file(tmp_path: Path, block: str) -> None:
    opened = open_particles(write_old_star(tmp_path, block))
    assert opened.pixel_size_A == pytest.approx(5e4 / 20000)
    assert opened.ids.tolist() == [f"{i}@particles.mrcs" for i in range(1, N + 1)]
    assert opened.optics.voltage_kV.tolist() == [200.0] * N
    assert opened.poses is not None
    expected = -2.5 * torch.tensor([[1.0, 0.0], [2.0, -1.0], [-3.0, 4.0], [0.5, 0.25]])
    torch.testing.assert_close(opened.poses.shifts_A, expected)


def test_relion_31_file(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"))
    table = particles()
    assert (opened.box, opened.pixel_size_A) == (BOX, PIXEL_A)
    assert opened.optics.defocus_u_A.tolist() == table["rlnDefocusU"]
    assert opened.optics.defocus_angle_deg.tolist() == table["rlnDefocusAngle"]
    assert opened.half_sets is not None
    assert opened.half_sets.tolist() == [1, 2, 1, 2]
    assert opened.poses is not None
    origins = np.stack([table["rlnOriginXAngst"], table["rlnOriginYAngst"]], 1)
    np.testing.assert_allclose(opened.poses.shifts_A, -origins, atol=1e-6)


def test_rotations_are_those_of_relions_angles(tmp_path: Path) -> None:
    """RELION's matrix is the product of coordinate rotations: intrinsic z-y-z, inverted (scipy as the oracle)."""
    opened = open_particles(write_star(tmp_path / "p.star"))
    table = particles()
    angles = np.stack([table["rlnAngleRot"], table["rlnAngleTilt"], table["rlnAnglePsi"]], 1)
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    assert opened.poses is not None
    np.testing.assert_allclose(opened.poses.rotations, expected, atol=1e-6)


def test_optics_groups_are_matched_by_number_not_by_row(tmp_path: Path) -> None:
    changes = {
        "rlnOpticsGroup": [7, 2, 5],
        "rlnOpticsGroupName": ["seven", "two", "unused"],
        "rlnVoltage": [300.0, 200.0, 80.0],
    }
    table = {label: values * 3 if len(values) == 1 else values for label, values in optics(**changes).items()}
    opened = open_particles(write_star(tmp_path / "p.star", particles(rlnOpticsGroup=[2, 7, 7, 2]), table))
    assert opened.optics.voltage_kV.tolist() == [200.0, 300.0, 300.0, 200.0]
    assert [opened.optics.group_names[g] for g in opened.optics.group] == ["two", "seven", "seven", "two"]


def test_a_group_without_particles_may_differ_in_pixel_size(tmp_path: Path) -> None:
    changes = {"rlnOpticsGroup": [1, 2], "rlnOpticsGroupName": ["a", "b"], "rlnImagePixelSize": [PIXEL_A, 9.0]}
    table = {label: values * 2 if len(values) == 1 else values for label, values in optics(**changes).items()}
    assert open_particles(write_star(tmp_path / "p.star", None, table)).pixel_size_A == PIXEL_A


def test_phase_shift_bfactor_and_own_voltage_are_used(tmp_path: Path) -> None:
    changes = {"rlnPhaseShift": [90.0] * N, "rlnCtfBfactor": [30.0] * N, "rlnVoltage": [200.0] * N}
    opened = open_particles(write_star(tmp_path / "p.star", particles(**changes)))
    assert opened.optics.phase_shift_deg.tolist() == [90.0] * N
    assert opened.optics.bfactor_A2.tolist() == [30.0] * N
    assert opened.optics.voltage_kV.tolist() == [200.0] * N


def test_neutral_aberrations_are_accepted(tmp_path: Path) -> None:
    neutral = {
        "rlnBeamTiltX": [0.0],
        "rlnOddZernike": ["[0,0,0,0,0,0]"],
        "rlnMagMat00": [1.0],
        "rlnMagMat01": [0.0],
        "rlnCtfDataAreCtfPremultiplied": [0],
    }
    assert not open_particles(write_star(tmp_path / "p.star", None, optics(**neutral))).ctf_premultiplied


def test_premultiplied_images_are_marked(tmp_path: Path) -> None:
    table = optics(rlnCtfDataAreCtfPremultiplied=[1])
    assert open_particles(write_star(tmp_path / "p.star", None, table)).ctf_premultiplied


def test_subset_zero_throughout_means_no_half_sets(tmp_path: Path) -> None:
    assert open_particles(write_star(tmp_path / "p.star", particles(rlnRandomSubset=[0] * N))).half_sets is None


def test_scale_factors_are_reported(tmp_path: Path) -> None:
    table = particles(rlnCtfScalefactor=[1.0, 1.2, 0.9, 1.0])
    assert any("rlnCtfScalefactor" in note for note in open_particles(write_star(tmp_path / "p.star", table)).notes)


def test_images_are_those_of_the_rows(tmp_path: Path) -> None:
    """Rows in any order: the image of row i is the one that its name says."""
    names = [f"{i}@particles.mrcs" for i in (3, 1, 4, 2)]
    opened = open_particles(write_star(tmp_path / "p.star", particles(rlnImageName=names)), contrast="bright")
    raw = torch.from_numpy(images())[[2, 0, 3, 1]].flatten(1)
    got = opened.images().flatten(1)
    correlation = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(raw, got)])
    torch.testing.assert_close(correlation, torch.ones(N), atol=1e-5, rtol=0)


def test_dark_images_are_inverted_and_it_is_said(tmp_path: Path) -> None:
    many = images(64)
    write_images(tmp_path / "particles.mrcs", -many)
    opened = open_particles(write_star(tmp_path / "p.star", particles(64)))
    assert any("multiplied by -1" in note for note in opened.notes)
    as_is = open_particles(tmp_path / "p.star", contrast="bright")
    torch.testing.assert_close(opened.images(), -as_is.images())


def test_pixel_size_option_takes_the_place_of_the_files(tmp_path: Path) -> None:
    opened = open_particles(write_old_star(tmp_path), pixel_size_A=3.0)
    assert opened.pixel_size_A == 3.0
    assert opened.poses is not None
    assert opened.poses.shifts_A[0].tolist() == [-3.0, 0.0]


def test_another_pixel_size_leaves_shifts_in_pixels(tmp_path: Path) -> None:
    plain = open_particles(write_star(tmp_path / "p.star"))
    given = open_particles(tmp_path / "p.star", pixel_size_A=3.0)
    assert plain.poses is not None
    assert given.poses is not None
    torch.testing.assert_close(given.poses.shifts_A / 3.0, plain.poses.shifts_A / PIXEL_A)
    assert any("--pixel-size-A 3 replaces the stated 2.5" in note for note in given.notes)
    write_relion_star(tmp_path / "q.star", given)
    again = open_particles(tmp_path / "q.star")
    assert again.poses is not None
    assert again.pixel_size_A == 3.0
    torch.testing.assert_close(again.poses.shifts_A, given.poses.shifts_A)


def test_a_given_pixel_size_mends_an_impossible_one(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star", None, optics(rlnImagePixelSize=["nan"])), pixel_size_A=3.0)
    assert opened.poses is not None
    assert opened.poses.shifts_A[1].tolist() == [-1.25, 0.75]


def test_a_header_of_another_pixel_size_is_reported(tmp_path: Path) -> None:
    assert not any("header" in note for note in open_particles(write_star(tmp_path / "p.star")).notes)
    write_images(tmp_path / "particles.mrcs", pixel_size_A=2.6)
    notes = open_particles(tmp_path / "p.star").notes
    assert any("header of particles.mrcs holds a pixel size of 2.6 Å; 2.5 Å is used" in note for note in notes)


def test_no_ctf_on_request(tmp_path: Path) -> None:
    table = {label: column for label, column in particles().items() if "Defocus" not in label}
    opened = open_particles(write_star(tmp_path / "p.star", table), ctf=Path("none"))
    assert opened.optics.amplitude_contrast.tolist() == [1.0] * N
    assert opened.optics.defocus_u_A.tolist() == [0.0] * N
