import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from vitreous.data import ImageSource, SubsetSource
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.transform import fourier_crop
from vitreous.io.stacks import StackSource, usable_images, write_stack


def write(path, images, dtype=np.float32):
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.asarray(images).astype(dtype))
        mrc.set_image_stack()
        mrc.voxel_size = 1.5
    return path


def whole(path, n, **options) -> StackSource:
    return StackSource([path], torch.zeros(n, dtype=torch.int64), torch.arange(n), 1.5, **options)


def background(images, radius):
    n = images.shape[-1]
    y, x = np.mgrid[:n, :n] - n // 2
    return images.numpy()[:, np.hypot(x, y) > radius]


@pytest.fixture
def noise(generator):
    return torch.randn(40, 32, 32, generator=generator)


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4", ">f4", ">i2"])
def test_pixels_are_those_of_the_file_in_any_order(tmp_path, noise, dtype):
    pixels = (noise.numpy() * 20 + 60).astype(dtype)
    source = whole(write(tmp_path / "a.mrcs", pixels, dtype), 40, normalise=False)
    rows = torch.tensor([5, 6, 7, 39, 0, 7, 21])
    assert np.array_equal(source.read(rows).numpy(), pixels[rows.numpy()].astype(np.float32))
    assert source.read(rows[:0]).shape == (0, 32, 32)
    assert source.read(rows).dtype == torch.float32


def test_particles_of_many_files_come_in_their_own_order(tmp_path, noise):
    files = [write(tmp_path / f"{k}.mrcs", noise[10 * k : 10 * k + 10]) for k in range(4)]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    source: ImageSource = StackSource(files, order // 10, order % 10, 1.5, normalise=False)
    assert len(source) == 40
    assert (source.box, source.pixel_size_A) == (32, 1.5)
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    assert torch.equal(source.read(rows), noise[order[rows]])


@pytest.mark.parametrize("offset", [0.0, 3e4])
@pytest.mark.parametrize("radius", [None, 10.0])
def test_background_has_mean_zero_and_sigma_one(tmp_path, noise, offset, radius):
    images = noise * torch.linspace(0.5, 50, 40)[:, None, None] + offset
    images[:, 12:20, 12:20] += 100.0
    source = whole(write(tmp_path / "a.mrcs", images), 40, background_radius_px=radius)
    outside = background(source.read(torch.arange(40)), 16 if radius is None else radius)
    np.testing.assert_allclose(outside.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(outside.std(axis=1), 1, atol=1e-4)


@pytest.mark.filterwarnings("ignore:overflow encountered")  # of mrcfile, in the statistics of its header
@pytest.mark.parametrize("options", [{}, {"box": 20}])
@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e20, 1e30])
def test_the_unit_of_the_pixels_does_not_matter(tmp_path, noise, scale, options):
    images = noise + 3
    plain = whole(write(tmp_path / "a.mrcs", images), 40, **options).read(torch.arange(40))
    scaled = images.clone()
    scaled[::2] *= scale
    read = whole(write(tmp_path / "b.mrcs", scaled), 40, **options).read(torch.arange(40))
    torch.testing.assert_close(read, plain, atol=1e-4, rtol=1e-4)


def test_images_without_noise_keep_their_scales(tmp_path, generator):
    axis = torch.arange(32.0) - 16
    blob = torch.exp(-(axis[:, None] ** 2 + axis**2) / 50)
    scales = torch.rand(20, generator=generator) + 0.5
    # What of a particle reaches the corners of its box tells nothing of its scale.
    corner = torch.exp(-((axis[:, None] - 15) ** 2 + (axis - 15) ** 2) / 20) * torch.rand(20, 1, 1, generator=generator)
    images = scales[:, None, None] * blob + 0.1 * corner
    read = whole(write(tmp_path / "clean.mrcs", images), 20).read(torch.arange(20))
    peaks = read.amax((1, 2))
    assert torch.allclose(peaks / peaks[0], scales / scales[0], rtol=0.05)
    noisy = images + torch.randn(20, 32, 32, generator=generator)
    read = whole(write(tmp_path / "noisy.mrcs", noisy), 20).read(torch.arange(20))
    assert np.allclose(background(read, 16).std(1), 1, atol=1e-4)


def test_contrast_sign_multiplies_the_normalised_image(tmp_path, noise):
    source = whole(write(tmp_path / "a.mrcs", noise), 40)
    rows = torch.arange(40)
    assert torch.equal(source.with_contrast(-1.0).read(rows), -source.read(rows))
    assert torch.equal(whole(tmp_path / "a.mrcs", 40, contrast_sign=-1.0).read(rows), -source.read(rows))


@pytest.mark.parametrize("box", [20, 21])
def test_cropping_keeps_the_field_and_the_shape_of_the_image(tmp_path, noise, box):
    source = whole(write(tmp_path / "a.mrcs", noise), 40, box=box)
    assert source.box * source.pixel_size_A == pytest.approx(32 * 1.5)
    read, plain = source.read(torch.arange(40)).numpy(), fourier_crop(noise, box).numpy()
    for a, b in zip(read, plain):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("file_box", "box"), [(64, 64), (64, 32), (64, 33), (63, 32)])
def test_white_noise_has_power_one_per_coefficient(tmp_path, generator, file_box, box):
    images = 7 * torch.randn(300, file_box, file_box, generator=generator) + 3
    source = whole(write(tmp_path / "a.mrcs", images), 300, box=box)
    power = torch.fft.rfft2(source.read(torch.arange(300)), norm="ortho").abs().square().mean(dim=0)
    inner = power[1 : (box - 1) // 2 + 1, 1 : (box - 1) // 2 + 1]
    assert inner.mean().item() == pytest.approx(1, abs=0.02)  # 1/σ² of few pixels is biased by 2/pixels
    assert inner.std().item() < 0.1  # white: 300 images scatter by 1/√300
    edge = power[2, (box - 1) // 2].item()
    assert edge == pytest.approx(1, abs=0.25)


@pytest.mark.filterwarnings("ignore:Data array contains", "ignore:invalid value encountered")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{}, {"normalise": False}, {"box": 16}])
def test_images_that_are_not_finite_are_named(tmp_path, noise, value, options):
    images = noise.numpy().copy()
    images[7, 15, 16] = value
    source = whole(write(tmp_path / "a.mrcs", images), 40, **options)
    source.read(torch.arange(7))
    with pytest.raises(InputError, match=r"a\.mrcs: 8@a\.mrcs: the image holds NaN or infinite values"):
        source.read(torch.arange(40))


@pytest.mark.parametrize("value", [0.0, 0.1, 30000.3])
@pytest.mark.parametrize("options", [{}, {"normalise": False}, {"box": 16}])
def test_constant_images_are_named(tmp_path, noise, value, options):
    images = noise.clone()
    images[3] = value
    ids = np.array([f"{k + 1}@stack" for k in range(40)])
    source = whole(write(tmp_path / "a.mrcs", images), 40, ids=ids, **options)
    with pytest.raises(InputError, match=r"4@stack: the image is constant"):
        source.read(torch.arange(40))


@pytest.mark.filterwarnings("ignore:Data array contains", "ignore:invalid value encountered")
def test_all_images_that_cannot_be_used_are_counted_and_five_are_named(tmp_path, noise):
    images = noise.numpy().copy()
    images[[31, 8], 3, 3] = np.nan
    source = whole(write(tmp_path / "a.mrcs", images), 40)
    with pytest.raises(InputError, match=r"2 of 40 .*: 9@a\.mrcs holds NaN .*, 32@a\.mrcs holds NaN .* values\. "):
        source.read(torch.arange(9))
    images[20:25] = 1.0
    source = whole(write(tmp_path / "b.mrcs", images), 40)
    wanted = r"7 of 40 .*: 9@b\.mrcs holds NaN.*, 21@b\.mrcs is constant.* 24@b\.mrcs is constant, and 2 more\. "
    with pytest.raises(InputError, match=wanted):
        source.read(torch.arange(40))
    bad = np.flatnonzero(~usable_images(SubsetSource(source, torch.arange(5, 40))))
    assert bad.tolist() == [row - 5 for row in (8, 20, 21, 22, 23, 24, 31)]


def test_looking_for_images_that_cannot_be_used_ends(tmp_path, noise, monkeypatch):
    images = noise.clone()
    images[::10] = 0.0
    monkeypatch.setattr("vitreous.io.stacks._CHUNK_BYTES", 4 * 32 * 32 * 15)
    source = whole(write(tmp_path / "a.mrcs", images), 40)
    assert source.unusable(limit_s=0.0) == ({0: "is constant", 10: "is constant"}, False)
    monkeypatch.setattr("vitreous.io.stacks._SEARCH_S", 0.0)
    with pytest.raises(InputError, match=r"at least 2 of 40 images cannot be used: 1@a\.mrcs is constant"):
        source.read(torch.arange(40))


def test_masked_images_are_refused_by_the_normalisation(tmp_path, noise):
    y, x = np.mgrid[:32, :32] - 16
    source = whole(write(tmp_path / "a.mrcs", noise.numpy() * (np.hypot(x, y) < 14)), 40)
    with pytest.raises(InputError, match=r"40 of 40 .*1@a\.mrcs has no variance in its background.*without a mask"):
        source.read(torch.arange(40))


def test_what_does_not_fit_is_refused_before_reading(tmp_path, noise):
    path = write(tmp_path / "a.mrcs", noise)
    with pytest.raises(InputError, match=r"41@a\.mrcs: the stack has no such image.*1 to 40, found 41"):
        whole(path, 41)
    with pytest.raises(InputError, match=r"no such image.*found 0"):
        StackSource([path], torch.tensor([0]), torch.tensor([-1]), 1.5)
    with pytest.raises(InputError, match="not square"):
        whole(write(tmp_path / "b.mrcs", noise[:, :20]), 40)
    other = write(tmp_path / "c.mrcs", noise[:, :20, :20])
    with pytest.raises(InputError, match=r"c\.mrcs: the images differ in box size .*32 x 32 as in a\.mrcs, found 20 x"):
        StackSource([path, other], torch.tensor([0, 1]), torch.tensor([0, 0]), 1.5)
    with pytest.raises(InputError, match="file not found"):
        whole(tmp_path / "gone.mrcs", 1)
    with pytest.raises(ConfigError, match="a box of 2 to 32 px, found 64"):
        whole(path, 40, box=64)
    with pytest.raises(ConfigError, match="background circle"):
        whole(path, 40, background_radius_px=40.0)
    with pytest.raises(InputError, match="no image files"):
        StackSource([], torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 1.5)


def test_a_file_that_shrinks_later_is_noticed(tmp_path, noise):
    source = whole(write(tmp_path / "a.mrcs", noise), 40)
    with (tmp_path / "a.mrcs").open("r+b") as file:
        file.truncate(50_000)
    with pytest.raises(InputError, match="become shorter"):
        source.read(torch.arange(40))
    (tmp_path / "a.mrcs").unlink()
    with pytest.raises(InputError, match="file not found"):
        pickle.loads(pickle.dumps(source)).read(torch.arange(2))  # noqa: S301


def test_threads_and_copies_read_the_same(tmp_path, noise):
    files = [write(tmp_path / f"{k}.mrcs", noise[k : k + 1]) for k in range(40)]
    source = StackSource(files, torch.arange(40), torch.zeros(40, dtype=torch.int64), 1.5, normalise=False)
    source._open_files._capacity = 3  # every read opens and closes under the others' feet
    barrier = threading.Barrier(4)

    def work(seed):
        barrier.wait()
        for step in range(20):
            rows = torch.randperm(40, generator=torch.Generator().manual_seed(100 * seed + step))
            assert torch.equal(source.read(rows), noise[rows])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(torch.arange(40)), noise)  # noqa: S301


MANY_FILES = """
import os, resource, sys, time
from pathlib import Path
import torch
from vitreous.io.stacks import StackSource
n, folder = 10_000, Path(sys.argv[1])
files = [folder / f"{k}.mrcs" for k in range(n)]
for file in files:
    os.link(folder / "one.mrcs", file)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
start = time.process_time()
source = StackSource(files, torch.arange(n), torch.zeros(n, dtype=torch.int64), 1.0)
print(time.process_time() - start)
first = source.read(torch.arange(n))
spare = [open(os.devnull) for _ in range(256 - len(os.listdir("/proc/self/fd")))]
print(len(first), torch.equal(source.read(torch.arange(n)), first))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_ten_thousand_files_work_with_256_descriptors(tmp_path, generator):
    """The second reading has none to spare: it makes do with those that it holds."""
    write(tmp_path / "one.mrcs", torch.randn(1, 16, 16, generator=generator))
    command = [sys.executable, "-c", MANY_FILES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, n, equal = done.stdout.split()
    assert float(seconds) < 5  # a third of a second where nothing else runs
    assert (n, equal) == ("10000", "True")


def anonymous_MB():
    return (
        int(
            next(
                x for x in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if "RssAnon" in x
            ).split()[1]
        )
        / 1e3
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_what_was_read(tmp_path, generator):
    batch = torch.randn(500, 64, 64, generator=generator)
    write_stack(tmp_path / "a.mrcs", (batch for _ in range(20)), 1.0, 10_000)  # 164 MB
    source = whole(tmp_path / "a.mrcs", 10_000, box=48)
    source.read(torch.arange(500))
    before = anonymous_MB()
    for start in range(500, 10_000, 500):
        source.read(torch.arange(start, start + 500))
        assert anonymous_MB() - before < 40


def test_sequential_reading_is_fast(tmp_path, generator):
    """25 µs an image where nothing else runs; the bound leaves room for a busy machine."""
    batch = torch.randn(250, 128, 128, generator=generator)
    write_stack(tmp_path / "a.mrcs", (batch for _ in range(4)), 1.0, 1000)
    source = whole(tmp_path / "a.mrcs", 1000)
    source.read(torch.arange(250))
    start = time.process_time()
    for first in range(0, 1000, 250):
        source.read(torch.arange(first, first + 250))
    assert time.process_time() - start < 2


def test_the_public_particles_read_like_mrcfile(shared_data):
    for name, n in [("trpv1_10x48/trpv1_small_stack.mrcs", 10), ("empiar10076_7x320/empiar_10076_7.mrc", 7)]:
        path = shared_data / "particles" / name
        plain = whole(path, n, normalise=False).read(torch.arange(n))
        assert np.array_equal(plain.numpy(), mrcfile.read(path))
        assert os.access(path, os.R_OK)
        assert torch.isfinite(whole(path, n).read(torch.arange(n))).all()
