import io
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from vitreous.errors import ResourceError
from vitreous.io.stacks import StackWriter, write_stack


@pytest.fixture
def images(generator):
    return 3 * torch.randn(25, 12, 12, generator=generator) + 10


@pytest.mark.parametrize(("float16", "mode"), [(False, 2), (True, 12)])
def test_mrcfile_validates_what_is_streamed_and_reads_the_same(tmp_path, images, float16, mode):
    path = tmp_path / "a.mrcs"
    write_stack(path, images.split(7), 1.31, 25, float16=float16)
    report = io.StringIO()
    assert mrcfile.validate(path, print_file=report), report.getvalue()
    with mrcfile.open(path) as mrc:
        assert mrc.header.mode == mode
        assert mrc.is_image_stack()
        assert mrc.data.shape == (25, 12, 12)
        np.testing.assert_allclose(mrc.data, images.numpy(), rtol=1e-3 if float16 else 0)
        assert mrc.voxel_size.x == pytest.approx(1.31)
        assert mrc.header.rms == pytest.approx(images.std(correction=0).item(), rel=1e-4)
        assert mrc.header.dmean == pytest.approx(images.mean().item(), rel=1e-4)
        assert mrc.header.dmax == pytest.approx(images.max().item(), rel=1e-3)
        assert mrc.get_labels()[0].startswith("vitreous ")


def test_a_failure_on_the_way_leaves_nothing(tmp_path, images):
    def interrupted():
        with StackWriter(tmp_path / "a.mrcs", 25, 12, 1.0) as writer:
            writer.append(images[:5])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ValueError, match="5 images were written, 25 were announced"):
        write_stack(tmp_path / "a.mrcs", [images[:5]], 1.0, 25)
    with pytest.raises(ValueError, match="too large for float16"):
        write_stack(tmp_path / "a.mrcs", [images * 1e5], 1.0, 25, float16=True)
    with pytest.raises(ValueError, match="not finite"):
        write_stack(tmp_path / "a.mrcs", [images / 0], 1.0, 25)
    with pytest.raises(ValueError, match="in a stack of 12 px"):
        write_stack(tmp_path / "a.mrcs", [images, images[:, 1:, 1:]], 1.0, 50)
    with pytest.raises(ValueError, match="without images"):
        write_stack(tmp_path / "a.mrcs", [], 1.0, 0)
    assert not any(tmp_path.iterdir())


def test_a_disk_without_room_is_noticed_before_writing(tmp_path, images):
    with pytest.raises(ResourceError, match=r"no room for the stack \(expected 40000000000\.00 GB, found"):
        write_stack(tmp_path / "a.mrcs", [images], 1.0, 10**17 // (12 * 12 * 4) * 400)
    assert not any(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_reported(tmp_path, images, monkeypatch):
    def fill(path):
        with StackWriter(path, 25, 12, 1.0) as writer, Path("/dev/full").open("wb", buffering=0) as full:
            monkeypatch.setattr(writer, "_file", full)
            writer.append(images)

    with pytest.raises(ResourceError, match=r"a\.mrcs: cannot be written: the disk is full"):
        fill(tmp_path / "a.mrcs")
    assert not any(tmp_path.iterdir())


def test_the_callers_images_stay_as_they_were(tmp_path, images):
    before = images.clone()
    write_stack(tmp_path / "a.mrcs", [images], 1.0, 25)
    assert torch.equal(images, before)


def test_writing_keeps_up_with_a_disk(tmp_path, generator):
    """500 MB/s of processor time where nothing else runs; the bound leaves room for a busy machine."""
    batch = torch.randn(250, 128, 128, generator=generator)
    start = time.process_time()
    write_stack(tmp_path / "a.mrcs", (batch for _ in range(4)), 1.0, 1000)
    assert 1000 * 128 * 128 * 4 / (time.process_time() - start) > 60e6
