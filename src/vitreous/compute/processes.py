"""Work that several processes share: who does what, and sums over all of them.

A method asks :func:`current_share` where it loops over images and where it adds them up; nothing is passed through it.
Every process runs the whole method. What is not shared (the random generators, the solve of a map) is done by all
alike, so that all hold the same state between two shared steps.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")

FEWEST_PIECES = 16
"""Rows are cut into at least so many pieces: few processes are busy alike, and more than 16 find nothing to do."""


@dataclass(frozen=True)
class Rank:
    """Which of several processes this is, from 0."""

    number: int = 0
    of: int = 1


@dataclass(frozen=True)
class Share:
    """What one of several processes does.

    Attributes
    ----------
    rank, size
        Number of this process, from 0, and how many there are.
    on_machine
        How many of them run on this machine.
    """

    rank: int = 0
    size: int = 1
    on_machine: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """Every ``size``-th item."""
        return items[self.rank :: self.size]

    def sum_(self, *tensors: Tensor) -> None:
        """Add up what all processes hold, in place; afterwards all hold the same bits. Nothing when alone.

        Tensors are real or complex and contiguous; all processes call this in the same order.
        """
        for tensor in tensors if self.size > 1 else ():
            distributed.all_reduce(torch.view_as_real(tensor) if tensor.is_complex() else tensor)

    def from_first(self, value: T) -> T:
        """Return what the first process passed; what the others pass does not matter."""
        if self.size == 1:
            return value
        box: list[T] = [value]
        distributed.broadcast_object_list(box)
        return box[0]


def current_share() -> Share:
    """Return this process's share; the whole where :mod:`torch.distributed` was not initialised."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Share()
    size = distributed.get_world_size()
    return Share(distributed.get_rank(), size, min(size, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def pieces(rows: Tensor, at_most: int) -> tuple[Tensor, ...]:
    """Cut rows into consecutive pieces to deal to processes, the same whatever their number is.

    What is computed of an image can depend, in its last digit, on the images that it is computed with.
    """
    return torch.split(rows, max(1, min(at_most, -(-len(rows) // FEWEST_PIECES)))) if len(rows) else ()
