"""What the operating system refuses, in plain words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitreous.errors import InputError, ResourceError, VitreousError
from vitreous.typing import PathLike

_FULL = ("the disk is full", "Free some space, or write to another disk")
_FORBIDDEN = ("permission denied", "Change the permissions, or choose another place")
_TOO_MANY = ("too many files are open", "Raise the limit with `ulimit -n 4096`")
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or write to another disk"),
    errno.EFBIG: ("the file is larger than this system allows", "Raise the limit with `ulimit -f`, or write elsewhere"),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: ("the disk is mounted read-only", "Choose another place"),
    errno.ENOENT: ("the folder does not exist", "Create it first, or check the spelling"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Check the spelling"),
    errno.EISDIR: ("this is a folder, not a file", "Name a file"),
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
}


def _refusal(error: OSError) -> tuple[str, str]:
    fallback = (error.strerror or str(error), "Check the disk and the path")
    return _REFUSALS.get(error.errno or 0, fallback)


def write_refused(path: PathLike, error: OSError) -> ResourceError:
    """Return the error to raise where ``path`` could not be written."""
    what, remedy = _refusal(error)
    return ResourceError(f"cannot be written: {what}", remedy=remedy, path=path)


def read_refused(path: PathLike, error: OSError) -> VitreousError:
    """Return the error to raise where ``path`` could not be read: an InputError where the path is wrong."""
    what, remedy = _refusal(error)
    if isinstance(error, FileNotFoundError):
        return InputError("file not found", remedy="Check the path and the folder it is relative to", path=path)
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return InputError(what, remedy=remedy, path=path)
    return ResourceError(f"cannot be read: {what}", remedy=remedy, path=path)


@contextmanager
def reading(path: PathLike) -> Iterator[Path]:
    """Turn every OSError of the block into an InputError or a ResourceError that names ``path``."""
    try:
        yield Path(path)
    except OSError as error:
        raise read_refused(path, error) from error
