"""What is measured of a command is what the command does."""

import sys
import time
from pathlib import Path

import pytest
from benchmarks.processes import Finished, run_measured


def python(program: str, folder: Path | None = None) -> Finished:
    return run_measured([sys.executable, "-c", program], folder=folder)


def test_anonymous_memory_counts_what_is_held_and_not_what_is_mapped(tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    file.write_bytes(bytes(200_000_000))
    mapped = f"import mmap; f = open({str(file)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, access=1); m[::4096]"
    nap = "; import time; time.sleep(0.2)"
    idle, held, shared = (python(text + nap) for text in ("pass", "b = bytearray(b'1' * 100_000_000)", mapped))
    assert 100 <= held.anonymous_MB - idle.anonymous_MB <= 230  # the bytes that fill the array are there for a moment
    assert shared.anonymous_MB - idle.anonymous_MB < 20
    assert shared.resident_MB - idle.resident_MB > 190


def test_memory_is_not_that_of_the_parent() -> None:
    parent = bytearray(b"1" * 300_000_000)
    assert python("import time; time.sleep(0.1)").resident_MB < len(parent) / 1e6


def test_times() -> None:
    started = time.perf_counter()
    done = python("import time; time.sleep(0.5); print('out')")
    assert 0.5 <= done.wall_seconds <= time.perf_counter() - started
    assert done.cpu_seconds < 0.5
    assert done.output == "out\n"
    busy = python("import time\nwhile time.process_time() < 0.6: pass")
    assert 0.6 <= busy.cpu_seconds < busy.wall_seconds + 0.1


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3:\nno luck"):
        python("import sys; print('no luck', file=sys.stderr); sys.exit(3)", folder=tmp_path)


def test_a_command_is_killed_when_its_time_is_up() -> None:
    started = time.perf_counter()
    done = run_measured([sys.executable, "-c", "import time; time.sleep(30)"], at_most_seconds=0.5)
    assert time.perf_counter() - started < 10
    assert done.was_stopped
    assert not python("pass").was_stopped
