"""How much memory there is, how much was used, and a refusal before a start that could not end."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from vitreous.errors import ResourceError

MB = 1_000_000
"""Bytes in a megabyte, in every message and summary."""

_CGROUPS = Path("/sys/fs/cgroup")
_SHARE = 0.85


def available_memory_bytes() -> int:
    """Memory that this process can still take without swapping or being killed.

    The kernel's estimate for the machine, or what the process's control group (a container, a batch job) leaves,
    whichever is less.
    """
    machine = _meminfo_bytes(Path("/proc/meminfo"))
    groups = _cgroup_available_bytes(Path("/proc/self/cgroup"), _CGROUPS)
    return machine if groups is None else min(machine, groups)


def _meminfo_bytes(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:  # not Linux: the whole memory is the best there is
        return _physical_memory_bytes()
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return _physical_memory_bytes()


def _physical_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_available_bytes(membership: Path, root: Path) -> int | None:
    """Least room that a control group above this process leaves; None where none limits memory.

    Pages of files count as used by a group but are given back on demand, so inactive ones are taken off.
    """
    try:
        entries = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return None
    rooms = []
    for _, controllers, group in entries:
        if controllers == "":
            base, names = root, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        start = base / group.strip("/")
        # A container may see its own group mounted at the root, so that the path it is told does not exist.
        for folder in (start, *start.parents) if start.is_dir() else (base,):
            room = _room_bytes(folder, *names)
            if room is not None:
                rooms.append(room)
            if folder == base:
                break
    return min(rooms, default=None)


def _room_bytes(folder: Path, limit_name: str, usage_name: str) -> int | None:
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / usage_name).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if not limit.isdigit() or int(limit) > 1 << 60:  # "max", or version 1's way to say so
        return None
    idle = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
    return max(0, int(limit) - used + idle)


def peak_memory_MB() -> float:
    """Largest resident memory of this process so far, pages of mapped files included.

    Linux counts it anew for every program that is started (VmHWM); its resource usage would begin with the memory of
    the parent.
    """
    high_water = _status_MB("VmHWM:")
    if high_water is not None:
        return high_water
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MB if sys.platform == "darwin" else peak * 1024 / MB


def anonymous_memory_MB() -> float:
    """Memory that this process holds now and that is no copy of a file: what grows with data kept.

    Falls back on the peak of all memory where the kernel does not tell (outside Linux).
    """
    anonymous = _status_MB("RssAnon:")
    return peak_memory_MB() if anonymous is None else anonymous


def _status_MB(name: str) -> float | None:
    """Return an entry of the kernel's page on this process, None where there is none."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    lines = [line.split() for line in status.splitlines() if line.startswith(name)]
    return int(lines[0][1]) * 1024 / MB if lines else None


@dataclass(frozen=True)
class MemoryBudget:
    """What a computation may take.

    Attributes
    ----------
    limit_bytes
        The most that may be allocated.
    where
        ``"memory"`` or ``"GPU memory"``, for messages.
    """

    limit_bytes: int
    where: str = "memory"

    @staticmethod
    def of_device(device: torch.device | str = "cpu") -> "MemoryBudget":
        """Take 85 % of what is free now on the machine or on a GPU."""
        if torch.device(device).type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            return MemoryBudget(int(_SHARE * free), "GPU memory")
        return MemoryBudget(int(_SHARE * available_memory_bytes()))

    def require(self, needed_bytes: int, purpose: str, remedy: str) -> None:
        """Refuse to start what does not fit.

        Parameters
        ----------
        needed_bytes
            The estimate.
        purpose
            What needs it: ``"a map of 512 voxels at padding 2"``.
        remedy
            What the user can do: ``"Choose a smaller --box"``.

        Raises
        ------
        ResourceError
            Where the estimate is above the limit.
        """
        if needed_bytes > self.limit_bytes:
            raise ResourceError(
                f"not enough {self.where} for {purpose}",
                expected=f"{needed_bytes / MB:,.0f} MB",
                found=f"{self.limit_bytes / MB:,.0f} MB",
                remedy=remedy,
            )

    def items_that_fit(self, bytes_per_item: int, at_most: int) -> int:
        """Return how many items of a size fit, at least 1 and no more than ``at_most``."""
        return max(1, min(at_most, self.limit_bytes // bytes_per_item))
