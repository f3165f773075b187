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


def test_a_subset_of_a_cs(tmp_path: Path) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs")).select(torch.tensor([2, 0]))
    write_cs(tmp_path / "q.cs", opened)
    assert np.load(tmp_path / "q.cs", allow_pickle=False)["uid"].tolist() == [102, 100]
