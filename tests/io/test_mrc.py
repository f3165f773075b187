"""Headers are compared with those that mrcfile writes."""

import bz2
import gzip
import lzma
import time

import mrcfile
import numpy as np
import pytest

from vitreous.errors import InputError, ResourceError
from vitreous.io.mrc import read_header


def make(path, shape=(3, 4, 6), dtype=np.float32, voxel=1.5, byte_order="<"):
    data = np.arange(np.prod(shape), dtype=np.float64).reshape(shape).astype(np.dtype(dtype).newbyteorder(byte_order))
    with mrcfile.new(path) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = voxel
    return data


def patch(path, offset, values, kind="<i4"):
    raw = bytearray(path.read_bytes())
    new = np.asarray(values, kind).tobytes()
    raw[offset : offset + len(new)] = new
    path.write_bytes(raw)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "mode"), [("i1", 0), ("i2", 1), ("f4", 2), ("u2", 6), ("f2", 12)])
def test_every_mode_and_byte_order_that_mrcfile_writes(tmp_path, dtype, mode, byte_order):
    path = tmp_path / "a.mrcs"
    data = make(path, dtype=dtype, byte_order=byte_order)
    header = read_header(path)
    assert (header.n_images, header.ny, header.nx) == (3, 4, 6)
    assert header.mode == mode
    assert header.pixel_size_A == pytest.approx(1.5)
    read = np.fromfile(path, header.dtype, offset=header.data_offset).reshape(3, 4, 6)
    assert np.array_equal(read, data)
    if dtype != "i1":
        assert header.byte_order == byte_order


def test_the_extended_header_is_skipped(tmp_path):
    path = tmp_path / "a.mrc"
    data = make(path)
    with mrcfile.open(path, "r+") as mrc:
        mrc.set_extended_header(np.zeros(100, "V8"))
    header = read_header(path)
    assert header.data_offset == 1024 + 800
    assert np.array_equal(np.fromfile(path, "<f4", offset=header.data_offset).reshape(data.shape), data)


def test_a_header_without_identifier_and_machine_stamp_is_read(tmp_path):
    """cryoSPARC's older exports and EMAN1 leave both empty."""
    path = tmp_path / "a.mrc"
    make(path)
    patch(path, 208, [0, 0])
    assert read_header(path).nx == 6


@pytest.mark.parametrize("cell", [0.0, np.nan])
def test_a_pixel_size_that_is_absent_is_kept_as_found(tmp_path, cell):
    path = tmp_path / "a.mrc"
    make(path)
    patch(path, 40, [cell] * 3, "<f4")
    np.testing.assert_equal(read_header(path).pixel_size_A, cell)


def test_imod_bytes_without_the_flag_for_signs_are_unsigned(tmp_path):
    path = tmp_path / "a.mrc"
    make(path, dtype="i1")
    assert read_header(path).dtype == np.int8
    patch(path, 152, [1146047817, 0])
    assert read_header(path).dtype == np.uint8
    patch(path, 156, [1])
    assert read_header(path).dtype == np.int8


@pytest.mark.parametrize("mode", [3, 4, 101])
def test_modes_without_real_pixels_are_refused(tmp_path, mode):
    path = tmp_path / "a.mrc"
    make(path)
    patch(path, 12, [mode])
    with pytest.raises(InputError, match=rf"a\.mrc: MRC mode {mode} .*Convert it"):
        read_header(path)


@pytest.mark.parametrize(
    ("compress", "command"), [(gzip.compress, "gunzip"), (bz2.compress, "bunzip2"), (lzma.compress, "unxz")]
)
def test_compressed_files_are_refused_with_the_command_that_unpacks_them(tmp_path, compress, command):
    path = tmp_path / "a.mrcs"
    make(path)
    path.write_bytes(compress(path.read_bytes()))
    with pytest.raises(InputError, match=f"`{command} a.mrcs`"):
        read_header(path)


def test_a_truncated_file_is_refused_with_both_sizes(tmp_path):
    path = tmp_path / "a.mrcs"
    make(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"truncated.*expected {len(whole)} bytes, found {len(whole) - 1} bytes"):
        read_header(path)
    path.write_bytes(whole[:500])
    with pytest.raises(InputError, match=r"expected 1024 bytes, found 500 bytes"):
        read_header(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"found 0 bytes"):
        read_header(path)


@pytest.mark.parametrize("content", [b"not a header at all, but text\n" * 50, bytes(2000), b"\xff" * 2000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an MRC file"):
        read_header(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.mrc: file not found"):
        read_header(tmp_path / "gone.mrc")
    with pytest.raises((InputError, ResourceError), match="folder"):
        read_header(tmp_path)


def test_a_header_of_a_huge_file_costs_nothing(tmp_path):
    path = tmp_path / "a.mrcs"
    make(path, shape=(1, 64, 64))
    patch(path, 8, [1_000_000])
    with path.open("r+b") as file:
        file.truncate(1024 + 1_000_000 * 64 * 64 * 4)  # sparse: 16 GB of nothing
    start = time.perf_counter()
    assert read_header(path).n_images == 1_000_000
    assert time.perf_counter() - start < 0.1


@pytest.mark.filterwarnings("ignore:Map ID string not found", "ignore:Unrecognised machine stamp")
def test_every_public_sample_opens(shared_data):
    for path in sorted(shared_data.glob("particles/*/*.mrc*")):
        header = read_header(path)
        with mrcfile.open(path, permissive=True, header_only=True) as mrc:
            assert (header.nx, header.ny, header.n_images) == (mrc.header.nx, mrc.header.ny, mrc.header.nz)
