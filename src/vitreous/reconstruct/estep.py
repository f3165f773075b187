"""The E-step's choice of path, how many images it scores at a time, and memory that a thread uses again and again."""

import threading
from typing import Literal

import torch
from torch import Tensor

EStep = Literal["auto", "products", "rings"]
"""How poses are scored: by matrix products, by rings, or by what is faster."""

CHUNK_SCORES = 400_000
"""Scores computed at a time: few enough to stay in cache, many enough for an efficient matrix product."""

GPU_CHUNK_SCORES = 10_000_000
"""The same on a GPU, where large operations pay."""

_scratch = threading.local()


def images_per_chunk(poses: int, device: torch.device) -> int:
    """How many images are scored at a time on a grid of so many poses."""
    return max(1, (CHUNK_SCORES if device.type == "cpu" else GPU_CHUNK_SCORES) // poses)


def scratch(name: str, size: int, like: Tensor) -> Tensor:
    """Return ``size`` numbers of any value, in memory of the calling thread that the next call of the name overwrites.

    Fresh pages would cost as much as the arithmetic.
    """
    buffers: dict[str, Tensor] = _scratch.__dict__.setdefault("buffers", {})
    buffer = buffers.get(name)
    if buffer is None or buffer.numel() < size or buffer.device != like.device or buffer.dtype != like.dtype:
        buffer = buffers[name] = like.new_empty(size)
    return buffer[:size]
