from pathlib import Path

import numpy as np
import torch
from tests.io.samples import N, cs_rows, write_cs_file, write_star

from vitreous.data import Poses
from vitreous.geometry.rotations import random_rotations
from vitreous.io import open_particles, write_cs


def test_a_cs_keeps_fields_types_and_uids(tmp_path: Path, generator: torch.Generator) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs"))
    poses = Poses(random_rotations(N, generator), torch.randn(N, 2, generator=generator))
    write_cs(tmp_path / "q.cs", opened, poses)
    rows = np.load(tmp_path / "q.cs", allow_pickle=False)
    assert rows.dtype == cs_rows().dtype
    unchanged = [name for name in rows.dtype.names if name not in {"alignments3D/pose", "alignments3D/shift"}]
    for name in unchanged:
        np.testing.assert_array_equal(rows[name], cs_rows()[name])
    again = open_particles(tmp_path / "q.cs").poses
    assert again is not None
    torch.testing.assert_close(again.rotations, poses.rotations, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.shifts_A, poses.shifts_A, atol=1e-6, rtol=0)


def test_other_particles_become_a_complete_cs(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"), contrast="dark")
    (tmp_path / "sub").mkdir()
    write_cs(tmp_path / "sub" / "q.cs", opened)
    again = open_particles(tmp_path / "sub" / "q.cs")
    assert opened.poses is not None
    assert again.poses is not None
    torch.testing.assert_close(again.poses.rotations, opened.poses.rotations, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.poses.shifts_A, opened.poses.shifts_A, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.optics.defocus_u_A, opened.optics.defocus_u_A)
    torch.testing.assert_close(again.half_sets, opened.half_sets)
    torch.testing.assert_close(again.images(), opened.images())
    uids = np.load(tmp_path / "sub" / "q.cs", allow_pickle=False)["uid"]
    assert len(np.unique(uids)) == N


def test_ctf_and_contrast_that_were_given_are_written(tmp_path: Path) -> None:
    path = write_cs_file(tmp_path / "p.cs")
    changes = {"ctf/accel_kv": np.full(N, 300, "<f4"), "ctf/df1_A": np.full(N, 21000, "<f4"), "ctf/bfactor": None}
    other = write_cs_file(tmp_path / "ctf.cs", cs_rows(**changes))
    write_cs(tmp_path / "q.cs", open_particles(path, ctf=other, contrast="bright"))
    rows = np.load(tmp_path / "q.cs", allow_pickle=False)
    assert rows.dtype == cs_rows().dtype
    assert rows["ctf/accel_kv"].tolist() == [300.0] * N
    assert rows["ctf/df1_A"].tolist() == [21000.0] * N
    assert rows["ctf/bfactor"].tolist() == [0.0] * N
    assert rows["blob/sign"].tolist() == [1.0] * N
    for name in ("ctf/exp_group_id", "ctf/df2_A", "ctf/df_angle_rad", "alignments3D/psize_A", "blob/psize_A"):
        np.testing.assert_array_equal(rows[name], cs_rows()[name])


def test_a_cs_without_ctf_gets_the_given_one(tmp_path: Path) -> None:
    without = {name: None for name in cs_rows().dtype.names if name.startswith("ctf/")}
    path = write_cs_file(tmp_path / "p.cs", cs_rows(**without))
    opened = open_particles(path, ctf=write_cs_file(tmp_path / "ctf.cs"))
    write_cs(tmp_path / "q.cs", opened)
    again = open_particles(tmp_path / "q.cs").optics
    for name in ("voltage_kV", "defocus_u_A", "defocus_angle_deg", "phase_shift_deg", "bfactor_A2"):
        torch.testing.assert_close(getattr(again, name), getattr(opened.optics, name))


def test_another_pixel_size_leaves_shifts_in_pixels(tmp_path: Path) -> None:
    given = open_particles(write_cs_file(tmp_path / "p.cs"), pixel_size_A=3.0)
    write_cs(tmp_path / "q.cs", given)
    rows = np.load(tmp_path / "q.cs", allow_pickle=False)
    np.testing.assert_allclose(rows["blob/psize_A"], 3.0)
    np.testing.assert_allclose(rows["alignments3D/psize_A"], 6.0)
    np.testing.assert_allclose(rows["alignments3D/shift"], cs_rows()["alignments3D/shift"], rtol=1e-5)
    again = open_particles(tmp_path / "q.cs")
    assert again.poses is not None
    assert given.poses is not None
    torch.testing.assert_close(again.poses.shifts_A, given.poses.shifts_A)


def test_a_subset_of_a_cs(tmp_path: Path) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs")).select(torch.tensor([2, 0]))
    write_cs(tmp_path / "q.cs", opened)
    assert np.load(tmp_path / "q.cs", allow_pickle=False)["uid"].tolist() == [102, 100]
