"""Every image once per epoch, in an order that a resumed training finds again."""

from itertools import islice

import torch

from vitreous.compute.epochs import shuffled_batches, steps_per_epoch
from vitreous.compute.processes import Rank


def test_an_epoch_shows_every_image_once_and_another_order_each_time() -> None:
    assert steps_per_epoch(12, 4) == 3
    assert steps_per_epoch(3, 4) == 1
    batches = [rows for _, rows in islice(shuffled_batches(12, 4, 1, 0, Rank()), 6)]
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert torch.equal(first.sort().values, torch.arange(12))
    assert torch.equal(second.sort().values, torch.arange(12))
    assert not torch.equal(first, second)


def test_a_later_step_and_several_processes_see_the_same_order() -> None:
    whole = dict(islice(shuffled_batches(12, 4, 1, 0, Rank()), 6))
    assert all(torch.equal(rows, whole[step]) for step, rows in islice(shuffled_batches(12, 4, 1, 2, Rank()), 4))
    parts = [next(shuffled_batches(12, 4, 1, 5, Rank(number, 2)))[1] for number in (0, 1)]
    assert torch.equal(torch.stack(parts, 1).flatten(), whole[5])
