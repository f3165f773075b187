import os
import subprocess
import sys

import numba
import pytest
import torch

from vitreous.compute import threads
from vitreous.compute.threads import set_threads, usable_cores
from vitreous.errors import ConfigError


@pytest.fixture(autouse=True)
def _restore():
    before, compiled = torch.get_num_threads(), numba.get_num_threads()
    yield
    torch.set_num_threads(before)
    numba.set_num_threads(compiled)


@pytest.mark.parametrize("n", [1, 2, None, 10_000])
def test_torch_and_compiled_kernels_use_what_is_returned(n):
    used = set_threads(n)
    assert used == min(n or usable_cores(), usable_cores())
    assert torch.get_num_threads() == used
    assert numba.get_num_threads() == min(used, numba.config.NUMBA_NUM_THREADS)


def test_a_fresh_process_keeps_to_one_thread():
    """Whatever pools are started first."""
    script = (
        "import torch; from vitreous.compute.threads import set_threads; set_threads(1); print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("n", [0, -1])
def test_less_than_one_thread_is_refused(n):
    with pytest.raises(ConfigError, match=rf"--threads must be positive \(found {n}\)"):
        set_threads(n)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_affinity_limits_the_cores():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("", None)]
)
def test_quota_of_a_control_group(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert threads._quota(tmp_path / "cpu.max") == cores
    assert threads._quota(tmp_path / "absent") is None
