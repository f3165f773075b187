"""Commands as subprocesses, with their time and their memory, and a limit to the time where one is wanted."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.02
"""How often memory is read: peaks shorter than this may be missed."""

VITREOUS = (sys.executable, "-m", "vitreous")


@dataclass(frozen=True)
class Finished:
    """A command that ended well.

    Attributes
    ----------
    wall_seconds, cpu_seconds
        From start to end of the process; user and system time of all its threads.
    anonymous_MB
        Peak of the memory that is no copy of a file (RssAnon of /proc/PID/status, polled), in 10⁶ bytes.
    resident_MB
        Peak resident memory, pages of mapped files included (VmHWM), in 10⁶ bytes.
    output
        What the command wrote to stdout.
    was_stopped
        Whether the command was killed because its time was up.
    """

    wall_seconds: float
    cpu_seconds: float
    anonymous_MB: float
    resident_MB: float
    output: str
    was_stopped: bool = False


def run_measured(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    at_most_seconds: float = threading.TIMEOUT_MAX,
) -> Finished:
    """Run a command to its end, or kill it after some time, and measure it.

    Raises
    ------
    RuntimeError
        With the end of what the command wrote, where it fails.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, env={**os.environ, **(environment or {})}, stdout=out, stderr=err)
        watch = _MemoryWatch(process.pid)
        alarm = threading.Timer(at_most_seconds, _kill, [process.pid])
        alarm.daemon = True
        alarm.start()
        try:
            # wait4 tells the times of this one child; Popen must be told that it has ended.
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            alarm.cancel()
            watch.stop()
        wall_seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [_text(file) for file in (out, err)]
    was_stopped = process.returncode == -signal.SIGKILL and wall_seconds >= at_most_seconds
    if process.returncode != 0 and not was_stopped:
        message = f"{' '.join(words)} ended with {process.returncode}:\n{''.join(texts)[-2000:]}"
        raise RuntimeError(message)
    cpu_seconds = used.ru_utime + used.ru_stime
    return Finished(wall_seconds, cpu_seconds, watch.anonymous_MB, watch.resident_MB, texts[0], was_stopped)


def _kill(pid: int) -> None:
    """Kill without Popen, which would reap the child before its times are read."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class _MemoryWatch:
    """A thread that notes the peaks of a process's memory.

    The resource usage that the kernel gives at the end will not do: it starts from the memory of the parent.
    """

    def __init__(self, pid: int) -> None:
        self.anonymous_MB = self.resident_MB = 0.0
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            sizes = memory_MB(self._status)
            self.anonymous_MB = max(self.anonymous_MB, sizes.get("RssAnon", 0.0))
            self.resident_MB = max(self.resident_MB, sizes.get("VmHWM", 0.0))


def memory_MB(status: Path = Path("/proc/self/status")) -> dict[str, float]:
    """Return the sizes in a ``/proc/PID/status`` in 10⁶ bytes, by name; nothing where the process has ended."""
    try:
        rows = [line.split() for line in status.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0].rstrip(":"): int(row[1]) * 1024 / 1e6 for row in rows if row[-1] == "kB"}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
