"""Reading from more files than a process may have open."""

import errno
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.io.access import read_refused

CAPACITY = 100
"""Files kept open: well below the 256 descriptors that some systems grant."""


@final
class _Descriptor:
    """An open file that closes when its last reader lets go."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


@final
class OpenFiles:
    """The most recently used files, open for reading at any position by any number of threads.

    Positioned reads need no lock and no mapping: only the caller's buffer holds pixels.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._open: OrderedDict[Path, _Descriptor] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without descriptors: it opens its own."""
        return OpenFiles, (self._capacity,)

    def read_into(self, buffer: NDArray[Any], path: Path, offset: int) -> None:
        """Fill a contiguous array with the bytes of ``path`` from ``offset`` on.

        Raises
        ------
        InputError
            Where the file has gone or ends too early.
        ResourceError
            Where the operating system refuses.
        """
        view = buffer.reshape(-1).view("u1").data
        done = 0
        try:
            descriptor = self._descriptor(path)
            while done < len(view):
                count = os.preadv(descriptor.number, [view[done:]], offset + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise read_refused(path, error) from error
        if done < len(view):
            raise InputError(
                "the file has become shorter since it was opened",
                expected=f"{offset + len(view)} bytes",
                found=f"{offset + done} bytes",
                remedy="Wait until it is written, or copy it again",
                path=path,
            )

    def _descriptor(self, path: Path) -> _Descriptor:
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
            while len(self._open) >= self._capacity:
                self._open.popitem(last=False)
            try:
                descriptor = _Descriptor(path)
            except OSError as error:
                if error.errno != errno.EMFILE or not self._open:
                    raise
                self._open.clear()
                descriptor = _Descriptor(path)
            self._open[path] = descriptor
            return descriptor
