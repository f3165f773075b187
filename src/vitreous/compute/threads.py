"""How many threads compute."""

import math
import os
from pathlib import Path

import torch

from vitreous.errors import ConfigError


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group (version 2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(Path("/sys/fs/cgroup/cpu.max")) or cores))


def _quota(cpu_max: Path) -> int | None:
    try:
        quota, period = cpu_max.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return None


def set_threads(n: int | None = None) -> int:
    """Use ``n`` threads in torch and in compiled kernels; all usable cores by default, and never more than those.

    Returns the number used. Random results do not depend on it; sums may differ in the last digit.

    Raises
    ------
    ConfigError
        Where ``n`` is below 1.
    """
    if n is not None and n < 1:
        raise ConfigError("--threads must be positive", found=n, remedy="Leave it out to use every core")
    import numba

    used = min(n or usable_cores(), usable_cores())
    # The first call starts numba's pool, and with it OpenMP's, which sets the number of torch's threads as well.
    numba.set_num_threads(min(used, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(used)
    return used
