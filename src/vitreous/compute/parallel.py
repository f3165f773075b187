"""Independent pieces of work on a few threads, without barriers between small operations.

Torch's own threads meet after every operation, which costs more than it gains where operations are short or the machine
is shared. Here each thread runs whole pieces with single-threaded operations; torch and the native kernels release the
interpreter lock.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from vitreous.compute.device import compute_device

Item = TypeVar("Item")
Out = TypeVar("Out")


def worker_count() -> int:
    """How many threads share independent work: torch's on the CPU, one on a GPU, which is shared anyway."""
    return torch.get_num_threads() if compute_device().type == "cpu" else 1


def map_on_threads(work: Callable[[int, Item], Out], items: Sequence[Item]) -> list[Out]:
    """Call ``work(worker, item)`` for every item and return the results in order.

    Items are dealt to workers in turn, and a worker takes its own in order, so that sums kept per worker do not depend
    on timing. There are :func:`worker_count` workers.
    """
    threads = torch.get_num_threads()
    workers = min(worker_count(), max(1, len(items)))
    out: list[Out | None] = [None] * len(items)

    def run(worker: int) -> None:
        torch.set_num_threads(1)
        for i in range(worker, len(items), workers):
            out[i] = work(worker, items[i])

    try:
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(run, worker) for worker in range(workers)]:
                done.result()
    finally:
        torch.set_num_threads(threads)
    return out  # type: ignore[return-value]
