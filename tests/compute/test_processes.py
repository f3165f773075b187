"""Shares of two real processes: what each does, and what both hold afterwards."""

import os
import tempfile
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from vitreous.compute.processes import FEWEST_PIECES, Share, current_share, pieces
from vitreous.physics.slices import SliceAccumulator


def _two_sums(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    share = current_share()
    real, complex_ = torch.full((3,), rank + 1.0), torch.full((2,), complex(rank, 1))
    share.sum_(real, complex_)
    accumulator = SliceAccumulator(8, threads=2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(rank)
    k = (torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    values = torch.randn(3, 2, generator=generator, dtype=torch.complex64)
    rotations = torch.eye(3).repeat(3, 1, 1)
    accumulator.add(rotations, k, values, torch.ones(3, 2))
    before = accumulator.totals()[0].clone()
    accumulator.sum_over_processes()
    said = share.from_first({"said by": rank, "tensor": torch.full((2,), float(rank))})
    found = {"share": astuple(share), "real": real, "complex": complex_, "said": said}
    torch.save(found | {"before": before, "after": accumulator.totals()[0]}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()  # its threads would end the process with an abort now and then


def test_two_processes_hold_the_sum_of_both_and_the_word_of_the_first() -> None:
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_two_sums, (folder,), 2, start_method="spawn")
        found = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [Share(*one["share"]) for one in found] == [Share(0, 2, 2), Share(1, 2, 2)]
    both = found[0]["before"] + found[1]["before"]
    for one in found:
        assert one["real"].tolist() == [3, 3, 3]
        assert one["complex"].tolist() == [1 + 2j, 1 + 2j]
        assert one["said"]["said by"] == 0
        assert one["said"]["tensor"].tolist() == [0, 0]
        torch.testing.assert_close(one["after"], both, rtol=1e-14, atol=0)


def test_alone_everything_is_mine_and_stays_as_it_is() -> None:
    share, tensor = current_share(), torch.ones(2)
    share.sum_(tensor)
    assert share == Share(0, 1, 1)
    assert share.is_first
    assert share.mine([1, 2, 3]) == [1, 2, 3]
    assert tensor.tolist() == [1, 1]
    assert share.from_first("word") == "word"


@pytest.mark.parametrize(("rows", "at_most"), [(5, 3), (16, 100), (1000, 30), (1000, 10_000), (0, 4)])
def test_pieces_hold_all_rows_in_order_and_are_many_enough(rows: int, at_most: int) -> None:
    cut = pieces(torch.arange(rows), at_most)
    assert [int(i) for piece in cut for i in piece] == list(range(rows))
    assert all(1 <= len(piece) <= at_most for piece in cut)
    assert len(cut) >= min(rows, FEWEST_PIECES) / 2
    dealt = [Share(rank, 3).mine(cut) for rank in range(3)]
    assert sum(map(len, dealt)) == len(cut)
