"""One command in two processes: the same result, one voice, and an end to all where one ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vitreous.cli import processes
from vitreous.cli.main import main
from vitreous.errors import ConfigError
from vitreous.io.maps import read_map
from vitreous.runs.reader import read_run

SHORT = ("--starts", "1", "--iterations", "10", "--refine-iterations", "3", "--search-radius", "9", "--patience", "0")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack") / "sim"
    assert main(["simulate", "phantom", "--n", "300", "--box", "32", "--snr", "1", "-o", str(folder), "--quiet"]) == 0
    return folder


def vitreous(*words: object, launcher: tuple[str, ...] = ("-m",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "vitreous", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def assert_same_maps(first: Path, second: Path) -> None:
    for name in ("volume", "half1", "half2"):
        one, other = (read_map(folder / f"{name}.mrc").values for folder in (first, second))
        assert float((one - other).abs().max() / one.square().mean().sqrt()) < 1e-5


@pytest.mark.slow
def test_abinitio_in_two_processes_is_that_in_one(stack: Path, tmp_path: Path) -> None:
    words = ("abinitio", stack / "particles.star", *SHORT)
    done = [
        vitreous(*words, "-o", tmp_path / "one", "--threads", "1"),
        vitreous(*words, "-o", tmp_path / "two", "--threads", "2", "--processes", "2"),
    ]
    assert [one.returncode for one in done] == [0, 0]
    assert_same_maps(tmp_path / "one", tmp_path / "two")
    assert done[1].stdout.count("report.html") == 1
    assert done[1].stderr.count("particles of 32 px") == 1
    lines = [(tmp_path / name / "metrics.jsonl").read_text().count("\n") for name in ("one", "two")]
    assert lines[0] == lines[1]
    first, second = (read_run(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(first.curves.final, second.curves.final, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_refine_and_reconstruct_under_torchrun_are_those_alone(stack: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")
    particles, start = stack / "particles.star", ("--map", stack / "state_01.mrc", "--rounds", "4")
    assert vitreous("refine", particles, *start, "-o", tmp_path / "one", "--threads", "1").returncode == 0
    shared = vitreous("refine", particles, *start, "-o", tmp_path / "two", "--threads", "2", launcher=torchrun)
    assert shared.returncode == 0
    assert_same_maps(tmp_path / "one", tmp_path / "two")
    found = tmp_path / "one" / "particles.star"
    assert vitreous("reconstruct", found, "-o", tmp_path / "three", "--threads", "1").returncode == 0
    assert vitreous("reconstruct", found, "-o", tmp_path / "four", "--processes", "2").returncode == 0
    assert_same_maps(tmp_path / "three", tmp_path / "four")


@pytest.mark.slow
def test_an_error_of_all_is_said_once(tmp_path: Path) -> None:
    done = vitreous("refine", "nothere.star", "-o", tmp_path / "run", "--processes", "2")
    assert done.returncode == 2
    assert done.stderr.count("nothere.star: file not found") == len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_resume_goes_on_in_any_number(stack: Path, tmp_path: Path) -> None:
    words = ("abinitio", stack / "particles.star", *SHORT)
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "vitreous", *map(str, words), "-o", str(folder), "--processes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 200
        while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(workers_of(run.pid)[1], signal.SIGKILL)
        assert run.wait(timeout=60) == 2
        assert run.stderr is not None
        errors = [line for line in run.stderr.read().splitlines() if "error" in line]
    assert len(errors) == 1
    assert "was killed (found SIGKILL)" in errors[0]
    assert "--resume" in errors[0]
    assert vitreous(*words, "-o", folder, "--resume", "--threads", "1").returncode == 0
    assert vitreous(*words, "-o", tmp_path / "unbroken", "--threads", "1").returncode == 0
    assert_same_maps(tmp_path / "unbroken", folder)


def workers_of(parent: int) -> list[int]:
    """Processes that were spawned by another, in the order of their start."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == parent and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def test_commands_that_run_in_one_process_refuse_more(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["pretrain", "-o", str(tmp_path / "run"), "--processes", "2"]) == 2
    assert "vitreous pretrain runs in one process (found 2). Leave --processes out." in capsys.readouterr().err
    assert main(["refine", "a.star", "-o", str(tmp_path / "run"), "--processes", "0"]) == 2
    assert "--processes must be at least 1" in capsys.readouterr().err


def test_launchers_are_found_by_what_they_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not processes.needed("refine", 1)
    assert processes.needed("refine", 2)
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a batch script that did not use srun runs alone
    assert not processes.needed("refine", 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert processes.needed("refine", 1)
    with pytest.raises(ConfigError, match=r"contradicts torchrun or srun \(expected 4, found 2\)"):
        processes.needed("refine", 2)
    with pytest.raises(ConfigError, match=r"vitreous select runs in one process .* without torchrun or srun"):
        processes.needed("select", 1)
    with pytest.raises(ConfigError, match="--ntasks-per-node"):
        processes._local_size(4)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    assert processes._local_size(4) == 2
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not processes.needed("select", 1)
