import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.compute import memory
from vitreous.compute.memory import MemoryBudget, anonymous_memory_MB, available_memory_bytes, peak_memory_MB
from vitreous.errors import ResourceError

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


@linux
def test_available_memory_is_at_most_what_the_machine_has():
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < available_memory_bytes() <= int(lines["MemTotal"].split()[0]) * 1024


def group(folder, limit, used, idle, names=("memory.max", "memory.current"), word="inactive_file"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{word} {idle}\n")


def test_the_tightest_group_above_a_process_counts(tmp_path):
    root = tmp_path / "cgroup"
    group(root / "job", 1000, 500, 100)
    group(root / "job" / "step", "max", 400, 0)
    group(root / "job" / "step" / "task", 5000, 300, 0)
    membership = tmp_path / "self"
    membership.write_text("0::/job/step/task\n")
    assert memory._cgroup_available_bytes(membership, root) == 600
    membership.write_text("0::/job/step/task\n")
    group(root / "job" / "step" / "task", 350, 300, 10)
    assert memory._cgroup_available_bytes(membership, root) == 60
    group(root / "job" / "step" / "task", 350, 400, 10)
    assert memory._cgroup_available_bytes(membership, root) == 0


def test_a_container_that_sees_its_group_as_the_root(tmp_path):
    root = tmp_path / "cgroup"
    group(root, 2000, 500, 0)
    membership = tmp_path / "self"
    membership.write_text("0::/docker/not-visible-here\n")
    assert memory._cgroup_available_bytes(membership, root) == 1500


def test_version_1_groups(tmp_path):
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(root / "memory" / "slurm", 9000, 4000, 1000, names, "total_inactive_file")
    membership.write_text("5:cpu,cpuacct:/slurm\n4:memory:/slurm\n")
    assert memory._cgroup_available_bytes(membership, root) == 6000
    group(root / "memory" / "slurm", 9223372036854771712, 4000, 1000, names, "total_inactive_file")
    assert memory._cgroup_available_bytes(membership, root) is None


def test_no_groups_no_limit(tmp_path):
    assert memory._cgroup_available_bytes(tmp_path / "absent", tmp_path) is None
    (tmp_path / "self").write_text("0::/\n")
    assert memory._cgroup_available_bytes(tmp_path / "self", tmp_path) is None


@linux
def test_a_small_program_does_not_inherit_the_peak_of_a_large_one():
    """Whatever the parent holds, a child that imports torch and nothing else stays below 600 MB."""
    large = np.ones(700_000_000, np.uint8)
    script = "from vitreous.compute.memory import peak_memory_MB; print(peak_memory_MB())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 600 < 700 <= large.nbytes / 1e6


@linux
def test_peak_and_anonymous_memory_see_an_array_and_not_a_file(tmp_path):
    script = f"""
import numpy as np
from pathlib import Path
from vitreous.compute.memory import anonymous_memory_MB, peak_memory_MB
start = anonymous_memory_MB()
mapped = np.memmap({str(tmp_path / "file")!r}, np.uint8, "r")
mapped[::1000].sum()
print(anonymous_memory_MB() - start)
array = np.ones(200_000_000, np.uint8)
print(anonymous_memory_MB() - start)
del array
high_water = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(anonymous_memory_MB() - start, peak_memory_MB(), int(high_water.split()[1]) * 1024 / 1e6)
"""
    np.zeros(100_000_000, np.uint8).tofile(tmp_path / "file")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    of_file, of_array, after, peak, high_water = map(float, done.stdout.split())
    assert of_file < 20
    assert of_array == pytest.approx(200, abs=20)
    assert after < 20
    assert peak == pytest.approx(high_water, rel=0.02)
    assert peak > of_array + 100
    assert peak_memory_MB() > 0
    assert anonymous_memory_MB() > 0


def test_a_budget_refuses_with_both_numbers_and_a_remedy():
    budget = MemoryBudget(2_000_000_000)
    budget.require(2_000_000_000, "a map", "Choose a smaller --box")
    words = r"memory for a map of 900 voxels \(expected 5,832 MB, found 2,000 MB\)\. Choose a smaller --box\."
    with pytest.raises(ResourceError, match=words):
        budget.require(900**3 * 8, "a map of 900 voxels", "Choose a smaller --box")


def test_how_many_items_fit():
    budget = MemoryBudget(1000)
    assert budget.items_that_fit(300, at_most=50) == 3
    assert budget.items_that_fit(1, at_most=50) == 50
    assert budget.items_that_fit(5000, at_most=50) == 1


def test_the_machine_s_budget_leaves_room():
    assert 0 < MemoryBudget.of_device(torch.device("cpu")).limit_bytes < 0.9 * (available_memory_bytes() + 1e9)
