from pathlib import Path

import numpy as np
import pytest
import torch
from tests.io.samples import BOX, PIXEL_A, N, images, optics, particles, write_cs_file, write_images, write_star

from vitreous.data import ArraySource, Optics, Particles, Poses
from vitreous.geometry.rotations import random_rotations
from vitreous.io import open_particles, write_cs, write_relion_star
from vitreous.io.star import read_star


def _poses(generator: torch.Generator) -> Poses:
    return Poses(random_rotations(N, generator), torch.randn(N, 2, generator=generator))


def test_every_column_survives(tmp_path: Path) -> None:
    table = particles(rlnGroupName=['"a b"', "c", "d", "e"], rlnCtfFigureOfMerit=[0.1, 1e-7, 3.25e10, -4.0])
    opened = open_particles(write_star(tmp_path / "p.star", table, optics(rlnMtfFileName=["mtf.star"])))
    write_relion_star(tmp_path / "q.star", opened)
    before, after = read_star(tmp_path / "p.star"), read_star(tmp_path / "q.star")
    for block in ("optics", "particles"):
        given = {label: column.tolist() for label, column in before[block].columns.items()}
        written = {label: column.tolist() for label, column in after[block].columns.items()}
        assert given.items() <= written.items()


def test_new_poses_are_read_back(tmp_path: Path, generator: torch.Generator) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"))
    poses = _poses(generator)
    write_relion_star(tmp_path / "q.star", opened, poses=poses)
    again = open_particles(tmp_path / "q.star").poses
    assert again is not None
    torch.testing.assert_close(again.rotations, poses.rotations, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.shifts_A, poses.shifts_A, atol=1e-6, rtol=0)


def test_poses_put_into_the_particles_are_written(tmp_path: Path, generator: torch.Generator) -> None:
    opened = open_particles(write_star(tmp_path / "p.star")).with_poses(_poses(generator))
    write_relion_star(tmp_path / "q.star", opened)
    again = open_particles(tmp_path / "q.star").poses
    assert again is not None
    assert opened.poses is not None
    torch.testing.assert_close(again.shifts_A, opened.poses.shifts_A, atol=1e-6, rtol=0)


def test_origins_in_pixels_do_not_stay_beside_new_ones(tmp_path: Path, generator: torch.Generator) -> None:
    table = {label: column for label, column in particles().items() if not label.startswith("rlnOrigin")}
    opened = open_particles(write_star(tmp_path / "p.star", table | {"rlnOriginX": [1.0] * N, "rlnOriginY": [2.0] * N}))
    write_relion_star(tmp_path / "q.star", opened, poses=_poses(generator))
    assert "rlnOriginX" not in read_star(tmp_path / "q.star")["particles"].columns


def test_half_sets_and_extra_columns(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"))
    scores = np.array([0.5, 0.25, 1.0, 0.125])
    halves = torch.tensor([2, 2, 1, 1])
    extra = {"rlnMaxValueProbDistribution": scores}
    write_relion_star(tmp_path / "q.star", opened, extra_columns=extra, half_sets=halves)
    columns = read_star(tmp_path / "q.star")["particles"].columns
    assert columns["rlnMaxValueProbDistribution"].tolist() == scores.tolist()
    assert columns["rlnRandomSubset"].tolist() == halves.tolist()


def test_a_column_of_wrong_length_is_an_error(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"))
    with pytest.raises(ValueError, match="rlnClassNumber"):
        write_relion_star(tmp_path / "q.star", opened, extra_columns={"rlnClassNumber": np.ones(N + 1)})
    assert not (tmp_path / "q.star").exists()


def test_names_that_still_lead_to_the_file_are_kept(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"))
    (tmp_path / "run").mkdir()
    write_relion_star(tmp_path / "run" / "particles.star", opened)
    assert open_particles(tmp_path / "run" / "particles.star").ids.tolist() == opened.ids.tolist()


def test_written_elsewhere_the_names_become_absolute(tmp_path: Path) -> None:
    for folder in ("project", "elsewhere"):
        (tmp_path / folder).mkdir()
    opened = open_particles(write_star(tmp_path / "project" / "p.star"))
    write_images(tmp_path / "elsewhere" / "particles.mrcs", images(seed=5))
    write_relion_star(tmp_path / "elsewhere" / "q.star", opened)
    again = open_particles(tmp_path / "elsewhere" / "q.star")
    assert again.ids[0] == f"1@{tmp_path}/project/particles.mrcs"
    torch.testing.assert_close(again.images(), opened.images())


@pytest.mark.parametrize("link", [False, True])
def test_absolute_names_hold_no_dots(tmp_path: Path, link: bool) -> None:
    data = tmp_path / "elsewhere" / "data"
    write_images(data / "s" / "particles.mrcs")
    (data / "sub").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(data / "sub")
    way = tmp_path / "link" if link else data / "sub"
    opened = open_particles(write_star(tmp_path / "p.star"), datadir=way / ".." / "s")
    (tmp_path / "particles.mrcs").unlink()
    write_relion_star(tmp_path / "out" / "q.star", opened)
    write_cs(tmp_path / "out" / "q.cs", opened)
    name = str(data / "s" / "particles.mrcs")
    assert read_star(tmp_path / "out" / "q.star")["particles"].columns["rlnImageName"][0] == f"000001@{name}"
    assert np.load(tmp_path / "out" / "q.cs")["blob/path"][0].decode() == name


def test_a_subset_keeps_its_rows(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"))
    chosen = opened.select(torch.tensor([3, 1])).select(torch.tensor([1, 0]))
    write_relion_star(tmp_path / "q.star", chosen)
    again = open_particles(tmp_path / "q.star")
    assert again.ids.tolist() == ["2@particles.mrcs", "4@particles.mrcs"]
    assert again.optics.defocus_u_A.tolist() == [12001.5, 12003.5]
    torch.testing.assert_close(again.images(), chosen.images())


def test_cropped_images_keep_the_scale_of_their_files(tmp_path: Path) -> None:
    opened = open_particles(write_star(tmp_path / "p.star"), box=8)
    assert opened.pixel_size_A == 2 * PIXEL_A
    write_relion_star(tmp_path / "q.star", opened)
    again = open_particles(tmp_path / "q.star")
    assert (again.box, again.pixel_size_A) == (BOX, PIXEL_A)


def test_particles_of_a_cs_become_a_complete_star(tmp_path: Path) -> None:
    opened = open_particles(write_cs_file(tmp_path / "p.cs"))
    write_relion_star(tmp_path / "q.star", opened)
    names = read_star(tmp_path / "q.star")["particles"].columns["rlnImageName"]
    assert names[0] == "000001@J1/extract/particles.mrc:mrcs"
    again = open_particles(tmp_path / "q.star", contrast="dark")
    assert again.ids.tolist() == opened.ids.tolist()
    assert again.poses is not None
    assert opened.poses is not None
    assert again.half_sets is not None
    assert opened.half_sets is not None
    torch.testing.assert_close(again.poses.rotations, opened.poses.rotations, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.poses.shifts_A, opened.poses.shifts_A, atol=1e-5, rtol=0)
    torch.testing.assert_close(again.optics.defocus_angle_deg, opened.optics.defocus_angle_deg)
    torch.testing.assert_close(again.half_sets, opened.half_sets)
    torch.testing.assert_close(again.images(), opened.images())


def test_particles_in_memory_take_their_ids_as_names(tmp_path: Path) -> None:
    write_images(tmp_path / "s.mrcs")
    source = ArraySource(torch.from_numpy(images()), PIXEL_A)
    optics_of_two = Optics.without_ctf(N)
    optics_of_two.voltage_kV[2:] = 200.0
    ids = np.array([f"{i}@s.mrcs" for i in (4, 3, 2, 1)])
    write_relion_star(tmp_path / "q.star", Particles(source, optics_of_two, ids))
    again = open_particles(tmp_path / "q.star")
    assert again.ids.tolist() == ids.tolist()
    assert again.optics.voltage_kV.tolist() == [300.0, 300.0, 200.0, 200.0]
    assert again.optics.group.tolist() == [1, 1, 0, 0]


def test_another_ctf_replaces_the_given_one(tmp_path: Path) -> None:
    write_star(tmp_path / "p.star")
    other = particles(rlnDefocusU=[20000.0] * N)
    write_star(tmp_path / "ctf.star", other, optics(rlnVoltage=[200.0]))
    write_relion_star(tmp_path / "q.star", open_particles(tmp_path / "p.star", ctf=tmp_path / "ctf.star"))
    again = open_particles(tmp_path / "q.star")
    assert again.optics.voltage_kV.tolist() == [200.0] * N
    assert again.optics.defocus_u_A.tolist() == [20000.0] * N
