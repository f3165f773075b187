from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.recfunctions import repack_fields
from scipy.spatial.transform import Rotation
from tests.io.samples import PIXEL_A, N, cs_rows, images, write_cs_file, write_images

from vitreous.data import Poses
from vitreous.io import open_particles
from vitreous.io.cryodrgn import read_cryodrgn_ctf, read_cryodrgn_poses
from vitreous.io.cryosparc import read_cryosparc


def _without_alignments(**changes: Any) -> np.ndarray:
    gone = {name: None for name in cs_rows().dtype.names or () if name.startswith("alignments3D")}
    return cs_rows(**(gone | changes))


def _assert_pose(poses: Poses | None, vectors: np.ndarray, shifts_px: np.ndarray, size_A: float) -> None:
    assert poses is not None
    expected = Rotation.from_rotvec(vectors).inv().as_matrix()
    np.testing.assert_allclose(poses.rotations, expected, atol=1e-6)
    np.testing.assert_allclose(poses.shifts_A, -shifts_px * size_A, rtol=1e-5)


def test_fields_in_the_units_of_the_package(tmp_path: Path) -> None:
    rows = cs_rows()
    opened = open_particles(write_cs_file(tmp_path / "p.cs"))
    assert opened.ids.tolist() == [f"{i}@J1/extract/particles.mrc" for i in range(1, N + 1)]
    assert opened.pixel_size_A == PIXEL_A
    np.testing.assert_allclose(opened.optics.defocus_angle_deg, np.degrees(rows["ctf/df_angle_rad"]), rtol=1e-6)
    np.testing.assert_allclose(opened.optics.phase_shift_deg, np.degrees(0.5), rtol=1e-6)
    assert opened.optics.bfactor_A2.tolist() == [20.0] * N
    assert opened.optics.group.tolist() == [0, 0, 1, 1]
    assert opened.half_sets is not None
    assert opened.half_sets.tolist() == [1, 2, 1, 2]
    _assert_pose(opened.poses, rows["alignments3D/pose"], rows["alignments3D/shift"], 2 * PIXEL_A)


def test_sign_says_how_to_make_particles_bright(tmp_path: Path) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs"))
    assert any("blob/sign" in note for note in opened.notes)
    write_images(tmp_path / "b.mrcs", images())
    bright = open_particles(tmp_path / "b.mrcs", ctf=Path("none"), contrast="bright")
    torch.testing.assert_close(opened.images(), bright.images(), atol=1e-5, rtol=0)


def test_paths_below_the_project_and_marks_of_imports(tmp_path: Path) -> None:
    (tmp_path / "J7").mkdir()
    write_images(tmp_path / "J1" / "imported" / "x.mrc")
    path = write_cs_file(tmp_path / "J7" / "p.cs", cs_rows(**{"blob/path": np.full(N, b">J1/imported/x.mrc")}))
    assert open_particles(path).ids[0] == "1@J1/imported/x.mrc"


def test_shape_may_be_absent(tmp_path: Path) -> None:
    assert open_particles(write_cs_file(tmp_path / "p.cs", cs_rows(**{"blob/shape": None}))).box == 16


def test_passthrough_is_joined_on_uid(tmp_path: Path) -> None:
    full = cs_rows(N + 2)
    names = [name for name in full.dtype.names or () if name == "uid" or name.startswith(("blob", "ctf"))]
    through = repack_fields(full[names][[5, 2, 0, 3, 1, 4]])
    own = [name for name in full.dtype.names or () if name == "uid" or name.startswith("alignments3D")]
    main = repack_fields(full[own][:N])
    write_images(tmp_path / "J1" / "extract" / "particles.mrc", -images(N + 2))
    path, other = write_cs_file(tmp_path / "p.cs", main), write_cs_file(tmp_path / "q.cs", through)
    opened = open_particles(path, passthrough=[other])
    assert opened.ids.tolist() == [f"{i}@J1/extract/particles.mrc" for i in range(1, N + 1)]
    np.testing.assert_allclose(opened.optics.defocus_u_A, full["ctf/df1_A"][:N])


@pytest.mark.parametrize("prefix", ["alignments_class3D_{}", "alignments_class_{}", "alignments3D_class_{}"])
def test_heterogeneous_refinement_gives_the_most_probable_class(tmp_path: Path, prefix: str) -> None:
    rng = np.random.default_rng(3)
    poses, shifts = rng.uniform(-1, 1, (2, N, 3)).astype("<f4"), rng.uniform(-1, 1, (2, N, 2)).astype("<f4")
    posterior = np.array([[0.9, 0.2, 0.6, 0.1], [0.1, 0.8, 0.4, 0.9]], "<f4")
    changes: dict[str, Any] = {}
    for k in range(2):
        name = prefix.format(k)
        changes |= {f"{name}/pose": poses[k], f"{name}/shift": shifts[k], f"{name}/class_posterior": posterior[k]}
        changes |= {f"{name}/psize_A": np.full(N, 4.0, "<f4")}
    opened = open_particles(write_cs_file(tmp_path / "p.cs", _without_alignments(**changes)))
    best = [0, 1, 0, 1]
    _assert_pose(opened.poses, poses[best, range(N)], shifts[best, range(N)], 4.0)


def test_classes_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    poses, shifts = rng.uniform(-1, 1, (N, 3, 3)).astype("<f4"), rng.uniform(-1, 1, (N, 3, 2)).astype("<f4")
    posterior = np.eye(3, dtype="<f4")[[2, 0, 1, 2]]
    changes = {
        "alignments3D_multi/pose": poses,
        "alignments3D_multi/shift": shifts,
        "alignments3D_multi/class_posterior": posterior,
        "alignments3D_multi/psize_A": np.full(N, 3.0, "<f4"),
    }
    opened = open_particles(write_cs_file(tmp_path / "p.cs", _without_alignments(**changes)))
    _assert_pose(opened.poses, poses[range(N), [2, 0, 1, 2]], shifts[range(N), [2, 0, 1, 2]], 3.0)


def test_without_alignments_there_are_no_poses(tmp_path: Path) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs", _without_alignments()))
    assert opened.poses is None
    assert opened.half_sets is None


def test_agrees_with_cryodrgns_conversion_of_a_real_file(shared_data: Path) -> None:
    folder = shared_data / "formats"
    listing = read_cryosparc(folder / "cryosparc_P12_J24_001_particles.cs")
    assert listing.box is not None
    assert listing.pixel_size_A is not None
    assert listing.poses is not None
    assert listing.optics is not None
    field_of_view_A = listing.box * listing.pixel_size_A
    theirs = read_cryodrgn_poses(folder / "pose.cs.pkl", len(listing.ids), field_of_view_A)
    torch.testing.assert_close(listing.poses.rotations, theirs.rotations, atol=1e-4, rtol=0)
    torch.testing.assert_close(listing.poses.shifts_A, theirs.shifts_A, atol=1e-4, rtol=0)
    optics, their_field_A = read_cryodrgn_ctf(folder / "ctf2.pkl", len(listing.ids), listing.ids)
    assert their_field_A == pytest.approx(field_of_view_A, abs=1e-4)
    names = "voltage_kV cs_mm amplitude_contrast defocus_u_A defocus_v_A defocus_angle_deg phase_shift_deg"
    for name in names.split():
        torch.testing.assert_close(getattr(listing.optics, name), getattr(optics, name), atol=1e-4, rtol=0)
