"""Poses and CTF values from other files belong to the particle of the same name, whatever the order."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.recfunctions import repack_fields
from tests.io.samples import (
    BOX,
    PIXEL_A,
    N,
    cs_rows,
    optics,
    particles,
    star_text,
    write_cs_file,
    write_images,
    write_star,
)

from vitreous.errors import InputError
from vitreous.geometry.rotations import random_rotations
from vitreous.io import open_particles
from vitreous.io.pickles import read_arrays

ORDER = [2, 0, 3, 1]


def _shuffled(order: Sequence[int] = ORDER, **changes: Any) -> dict[str, list[Any]]:
    return {label: [column[i] for i in order] for label, column in particles(**changes).items()}


def _bare_star(path: Path) -> Path:
    """A STAR without poses."""
    return write_star(path, {label: column for label, column in particles().items() if "Angle" not in label[3:8]})


def test_poses_of_a_star_in_another_order(tmp_path: Path) -> None:
    reference = open_particles(write_star(tmp_path / "all.star")).poses
    other = write_star(tmp_path / "poses.star", _shuffled())
    joined = open_particles(_bare_star(tmp_path / "bare.star"), poses=other).poses
    assert reference is not None
    assert joined is not None
    torch.testing.assert_close(joined.rotations, reference.rotations)
    torch.testing.assert_close(joined.shifts_A, reference.shifts_A)


def test_stacks_that_moved_are_matched_by_file_name(tmp_path: Path) -> None:
    write_images(tmp_path / "old" / "place" / "particles.mrcs")
    names = [f"{i + 1}@old/place/particles.mrcs" for i in range(N)]
    other = write_star(tmp_path / "poses.star", _shuffled(rlnImageName=names))
    assert open_particles(_bare_star(tmp_path / "bare.star"), poses=other).poses is not None


def test_file_names_that_do_not_tell_stacks_apart_are_not_used(tmp_path: Path) -> None:
    names = ["1@a/particles.mrcs", "2@a/particles.mrcs", "1@b/particles.mrcs", "2@b/particles.mrcs"]
    other = write_star(tmp_path / "poses.star", particles(rlnImageName=names))
    with pytest.raises(InputError, match="4 of 4 particles"):
        open_particles(_bare_star(tmp_path / "bare.star"), poses=other)


def test_origins_in_pixels_take_the_pixel_size_of_the_images(tmp_path: Path) -> None:
    old = {label: column for label, column in particles().items() if label not in {"rlnOriginXAngst", "rlnOpticsGroup"}}
    old |= {"rlnOriginX": [2.0] * N, "rlnOriginY": [0.0] * N}
    old.pop("rlnOriginYAngst")
    (tmp_path / "poses.star").write_text(star_text({"": old}), encoding="utf-8")
    joined = open_particles(_bare_star(tmp_path / "bare.star"), poses=tmp_path / "poses.star", pixel_size_A=3.0)
    assert joined.poses is not None
    torch.testing.assert_close(joined.poses.shifts_A, torch.tensor([[-6.0, 0.0]] * N))


def test_joined_shifts_follow_a_given_pixel_size(tmp_path: Path) -> None:
    rows = cs_rows(**{"blob/path": np.full(N, b"particles.mrcs")})
    stars = write_star(tmp_path / "poses.star"), write_cs_file(tmp_path / "poses.cs", rows)
    for other in stars:
        bare = _bare_star(tmp_path / "bare.star")
        plain, given = (open_particles(bare, poses=other, pixel_size_A=size).poses for size in (None, 3.0))
        assert plain is not None
        assert given is not None
        torch.testing.assert_close(given.shifts_A / 3.0, plain.shifts_A / PIXEL_A)


def test_more_poses_than_particles_are_fine(tmp_path: Path) -> None:
    few = {label: column[:2] for label, column in particles().items()}
    write_star(tmp_path / "few.star", few)
    joined = open_particles(tmp_path / "few.star", poses=write_star(tmp_path / "poses.star", _shuffled())).poses
    assert joined is not None
    torch.testing.assert_close(joined.shifts_A, torch.tensor([[0.0, 0.0], [-1.25, 0.75]]))


def test_ctf_of_a_star_for_a_bare_stack(tmp_path: Path) -> None:
    other = write_star(tmp_path / "ctf.star", _shuffled())
    opened = open_particles(tmp_path / "particles.mrcs", ctf=other)
    assert opened.optics.defocus_u_A.tolist() == particles()["rlnDefocusU"]
    assert opened.table is None


def test_ctf_of_a_csv_by_name(tmp_path: Path) -> None:
    write_images(tmp_path / "s.mrcs")
    header = "id,voltage_kV,cs_mm,amplitude_contrast,defocus_u_A,defocus_v_A,defocus_angle_deg,pixel_size_A"
    rows = [f"{i + 1}@s.mrcs,300,2.7,0.1,{10000 + i},{9000 + i},{i},1.5" for i in ORDER]
    (tmp_path / "c.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    opened = open_particles(tmp_path / "s.mrcs", ctf=tmp_path / "c.csv")
    assert opened.optics.defocus_u_A.tolist() == [10000.0, 10001.0, 10002.0, 10003.0]
    assert opened.pixel_size_A == 1.5


def test_poses_of_a_star_for_a_cs(tmp_path: Path) -> None:
    names = [f"{i + 1}@J1/extract/particles.mrc" for i in range(N)]
    path = write_cs_file(tmp_path / "p.cs")
    other = write_star(tmp_path / "poses.star", _shuffled(rlnImageName=names))
    joined = open_particles(path, poses=other).poses
    assert joined is not None
    torch.testing.assert_close(joined.shifts_A[3], torch.tensor([-3.75, 2.25]))


def test_poses_of_a_cs_without_images_are_joined_on_uid(tmp_path: Path) -> None:
    rows = cs_rows()
    own = [name for name in rows.dtype.names or () if name == "uid" or name.startswith("alignments3D")]
    shuffled = write_cs_file(tmp_path / "alignments.cs", repack_fields(rows[own][ORDER]))
    joined = open_particles(write_cs_file(tmp_path / "p.cs"), poses=shuffled).poses
    reference = open_particles(tmp_path / "p.cs").poses
    assert joined is not None
    assert reference is not None
    torch.testing.assert_close(joined.shifts_A, reference.shifts_A)


def test_optics_that_are_not_modelled_do_not_matter_for_poses(tmp_path: Path) -> None:
    other = write_star(tmp_path / "poses.star", _shuffled(), optics(rlnBeamTiltX=[0.4]))
    assert open_particles(_bare_star(tmp_path / "bare.star"), poses=other).poses is not None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_arrays_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    arrays = (np.arange(6.0).reshape(2, 3), np.float32([1, 2]))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    for got, expected in zip(read_arrays(tmp_path / "a.pkl"), arrays):
        np.testing.assert_array_equal(got, expected)


def test_cryodrgn_translations_are_fractions_of_the_field_of_view(tmp_path: Path, generator: torch.Generator) -> None:
    rotations = random_rotations(N, generator)
    translations = np.linspace(-0.1, 0.1, 2 * N).reshape(N, 2)
    (tmp_path / "poses.pkl").write_bytes(pickle.dumps((rotations.numpy(), translations)))
    poses = open_particles(write_star(tmp_path / "p.star"), poses=tmp_path / "poses.pkl", box=8).poses
    assert poses is not None
    torch.testing.assert_close(poses.rotations, rotations)
    np.testing.assert_allclose(poses.shifts_A, -translations * BOX * PIXEL_A, atol=1e-6)


def test_cryodrgn_ctf_gives_the_pixel_size_of_a_downsampled_stack(tmp_path: Path) -> None:
    write_images(tmp_path / "s.mrcs", pixel_size_A=1.0)
    rows = np.tile([4.0 * BOX, 0.9, 15000, 14000, 20, 300, 2.7, 0.1, 0], (N, 1))
    (tmp_path / "ctf.pkl").write_bytes(pickle.dumps(rows.astype(np.float32)))
    opened = open_particles(tmp_path / "s.mrcs", ctf=tmp_path / "ctf.pkl")
    assert opened.pixel_size_A == pytest.approx(3.6)
    assert opened.optics.defocus_v_A.tolist() == [14000.0] * N
