import errno
import os
import resource

import pytest

from vitreous.errors import ResourceError
from vitreous.io import atomic
from vitreous.io.atomic import atomic_path


def test_the_file_appears_whole_with_the_block_s_end(tmp_path):
    target = tmp_path / "volume.mrc"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mrc"
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["volume.mrc"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "volume.mrc"
    target.write_bytes(b"old")

    def interrupted():
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["volume.mrc"]


def test_permissions_follow_the_umask(tmp_path):
    with atomic_path(tmp_path / "ours.txt"):
        pass
    (tmp_path / "plain.txt").touch()
    assert (tmp_path / "ours.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(ResourceError, match=r"nowhere/map\.mrc: cannot be written: the folder does not exist"),
        atomic_path(tmp_path / "nowhere" / "map.mrc"),
    ):
        pass


def test_a_folder_in_the_file_s_place_is_refused(tmp_path):
    (tmp_path / "map.mrc").mkdir()
    with pytest.raises(ResourceError, match="folder, not a file"), atomic_path(tmp_path / "map.mrc"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.mrc"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_said_with_a_remedy(tmp_path, code, words):
    with pytest.raises(ResourceError, match=words), atomic_path(tmp_path / "a.mrc"):
        raise OSError(code, os.strerror(code))
    assert not any(tmp_path.iterdir())


def test_a_disk_that_fills_up_on_the_last_flush_leaves_nothing(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full"), atomic_path(tmp_path / "a.mrc") as temporary:
        temporary.write_bytes(b"x")
    assert not any(tmp_path.iterdir())


def test_the_trouble_of_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"other\.txt"), atomic_path(tmp_path / "a.mrc"):
        (tmp_path / "other.txt").read_text(encoding="utf-8")


def test_a_real_size_limit_is_reported_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        with atomic_path(tmp_path / "a.mrc") as temporary, temporary.open("wb") as file:
            file.write(bytes(100_000))

    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ResourceError, match=r"a\.mrc: cannot be written: the file is larger than this system"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="permission denied"), atomic_path(tmp_path / "a.mrc"):
        pass
    tmp_path.chmod(0o700)
