"""The order in which training sees its images."""

from collections.abc import Iterator

import torch

from vitreous.compute.processes import Rank
from vitreous.typing import Int, Tensor


def steps_per_epoch(count: int, batch: int) -> int:
    """Whole batches among ``count`` images; those left over wait for the next epoch's order."""
    return max(1, count // batch)


def shuffled_batches(
    count: int, batch: int, seed: int, first_step: int, rank: Rank
) -> Iterator[tuple[int, Int[Tensor, " b"]]]:
    """Yield every step with the rows that one process sees in it; an epoch's order depends on seed and epoch alone."""
    step, known, order = first_step, -1, torch.empty(0, dtype=torch.int64)
    while True:
        epoch, place = divmod(step, steps_per_epoch(count, batch))
        if epoch != known:
            generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % (1 << 62))
            known, order = epoch, torch.randperm(count, generator=generator)
        yield step, order[place * batch : (place + 1) * batch][rank.number :: rank.of]
        step += 1
