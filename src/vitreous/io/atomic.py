"""Files that are whole or absent."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitreous.io.access import write_refused
from vitreous.typing import PathLike


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends well.

    The temporary file exists already, is hidden, and keeps the suffix of ``path``. When the block ends it is flushed
    to disk and renamed, so that a reader, or a machine that stops, sees the old file or the whole new one. When the
    block raises, it is removed and ``path`` stays as it was.

    Raises
    ------
    ResourceError
        Where the operating system refuses: no space, no permission, a read-only disk, a missing folder. An OSError
        of the block that names another file passes through unchanged.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.partial{target.suffix}")
    try:
        temporary.open("xb").close()
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        with suppress(OSError):  # some network disks cannot flush a folder; the rename itself has happened
            _flush(target.parent)
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in {temporary, target}:
            raise
        raise write_refused(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
