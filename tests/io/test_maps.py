"""Maps are compared with what mrcfile and gemmi make of the same file."""

import gzip
import io

import gemmi
import mrcfile
import numpy as np
import pytest
import torch

from vitreous.data import Volume
from vitreous.errors import InputError, ResourceError
from vitreous.io.maps import read_map, write_map


@pytest.fixture
def volume(generator):
    return Volume(torch.randn(5, 5, 5, generator=generator), 1.25, (3.0, -4.0, 5.5))


def test_mrcfile_validates_what_is_written_and_reads_the_same(tmp_path, volume):
    path = tmp_path / "a.mrc"
    write_map(path, volume, label="half-map 1")
    report = io.StringIO()
    assert mrcfile.validate(path, print_file=report), report.getvalue()
    with mrcfile.open(path) as mrc:
        assert np.array_equal(mrc.data, volume.values.numpy())
        assert mrc.is_volume()
        assert mrc.voxel_size.tolist() == pytest.approx((1.25, 1.25, 1.25))
        assert mrc.header.origin.tolist() == (3.0, -4.0, 5.5)
        assert mrc.header.rms == pytest.approx(volume.values.std(correction=0).item(), rel=1e-5)
        assert mrc.get_labels()[0].startswith("vitreous ")
        assert "half-map 1" in mrc.get_labels()[0]


def test_reading_returns_what_was_written(tmp_path, volume):
    write_map(tmp_path / "a.mrc", volume)
    again = read_map(tmp_path / "a.mrc")
    assert torch.equal(again.values, volume.values)
    assert again.voxel_size_A == pytest.approx(1.25)
    assert again.origin_A == volume.origin_A


def test_long_and_foreign_labels_do_not_break_the_header(tmp_path, volume):
    write_map(tmp_path / "a.mrc", volume, label="β-galactosidase " * 20)
    assert mrcfile.validate(tmp_path / "a.mrc", print_file=io.StringIO())


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (3, 1, 2), (2, 3, 1)])
def test_axis_order_agrees_with_gemmi(tmp_path, volume, order):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(volume.values.numpy())
        mrc.voxel_size = 1.25
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = order
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = 10, 20, 30
        mrc.header.mx = mrc.header.my = mrc.header.mz = 5
    read = read_map(path)
    assert read.origin_A[order[0] - 1] == pytest.approx(12.5)  # columns start at 10
    assert read.origin_A[order[2] - 1] == pytest.approx(37.5)
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.nxstart = mrc.header.nystart = mrc.header.nzstart = 0
    oracle = gemmi.read_ccp4_map(str(path), setup=True)  # brings the axes to x, y, z
    assert np.array_equal(read_map(path).values.numpy(), np.array(oracle.grid).transpose(2, 1, 0))


def test_origin_wins_over_start_indices(tmp_path, volume):
    write_map(tmp_path / "a.mrc", volume)
    with mrcfile.open(tmp_path / "a.mrc", "r+") as mrc:
        mrc.header.nxstart = 7
    assert read_map(tmp_path / "a.mrc").origin_A == volume.origin_A


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", ">f4", ">i2"])
def test_other_modes_become_float32(tmp_path, dtype):
    data = np.arange(64).reshape(4, 4, 4).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(data)
        mrc.voxel_size = 1.0
    assert np.array_equal(read_map(tmp_path / "a.mrc").values.numpy(), data.astype(np.float32))


@pytest.mark.filterwarnings("ignore:Data array contains", "ignore:invalid value encountered")
def test_unusable_maps_are_refused(tmp_path, volume):
    path = tmp_path / "a.mrc"

    def refuse(words, change, values=None):
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(volume.values.numpy() if values is None else values)
            mrc.voxel_size = 1.0
            change(mrc)
        with pytest.raises(InputError, match=words):
            read_map(path)

    def set_voxel(size):
        return lambda mrc: setattr(mrc, "voxel_size", size)

    refuse("no voxel size.*force_header_angpix", set_voxel(0.0))
    refuse("no voxel size", set_voxel(float("nan")))
    refuse("not cubes", set_voxel((1.0, 1.0, 2.0)))
    refuse("not cubic", lambda mrc: None, values=np.zeros((5, 5, 4), np.float32))
    refuse("axis order", lambda mrc: mrc.header.__setitem__("mapc", 3))
    bad = volume.values.numpy().copy()
    bad[1, 2, 3] = np.inf
    refuse("NaN or infinite", lambda mrc: None, values=bad)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="gunzip"):
        read_map(path)


def test_a_map_that_no_program_could_place_is_not_written(tmp_path, volume):
    with pytest.raises(ValueError, match="voxel size"):
        write_map(tmp_path / "a.mrc", Volume(volume.values, 0.0))
    with pytest.raises(ValueError, match="finite"):
        write_map(tmp_path / "a.mrc", Volume(volume.values / 0, 1.0))
    with pytest.raises(ResourceError, match="folder does not exist"):
        write_map(tmp_path / "b" / "a.mrc", volume)
    assert not any(tmp_path.iterdir())


def test_the_public_maps_read_as_in_gemmi(shared_data):
    path = shared_data / "particles" / "trpv1_10x48" / "trpv1_volume.mrc"
    read = read_map(path)
    assert read.voxel_size_A == pytest.approx(4.88)
    grid = gemmi.read_ccp4_map(str(path), setup=True).grid
    assert np.array_equal(read.values.numpy(), np.array(grid).transpose(2, 1, 0))
