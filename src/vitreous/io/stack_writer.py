"""Particle stacks written as they are made."""

import math
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import final

import numpy as np
import torch
from torch import Tensor

from vitreous.errors import ResourceError
from vitreous.io.access import write_refused
from vitreous.io.atomic import atomic_path
from vitreous.io.mrc import HEADER_BYTES, Statistics, new_header
from vitreous.typing import Float, Images, PathLike


@final
class StackWriter:
    """An image stack that grows batch by batch and appears under its name when it is complete.

    Use as a context manager; when the block raises, nothing is left behind.

    Parameters
    ----------
    path
        The ``.mrcs`` file.
    n, box
        How many images will come, and their side in pixels.
    pixel_size_A
        Side of a pixel.
    float16
        Write MRC mode 12, half the size, three decimal digits.

    Raises
    ------
    ResourceError
        Where the disk has no room for the whole stack, before anything is written, or refuses later.
    """

    def __init__(self, path: PathLike, n: int, box: int, pixel_size_A: float, *, float16: bool = False) -> None:
        self._path = Path(path)
        self._n, self._box, self._pixel_size_A = n, box, pixel_size_A
        self._mode = 12 if float16 else 2
        self._dtype: np.dtype[np.floating] = np.dtype("<f2" if float16 else "<f4")
        self._written = 0
        self._minimum, self._maximum, self._sum, self._sum_of_squares = np.inf, -np.inf, 0.0, 0.0
        self._context = ExitStack()

    def __enter__(self) -> "StackWriter":
        """Open the temporary file."""
        self._refuse_without_room()
        with ExitStack() as context:
            temporary = context.enter_context(atomic_path(self._path))
            # Unbuffered, so that a full disk is noticed by the batch that fills it and closing cannot fail.
            self._file = context.enter_context(temporary.open("wb", buffering=0))
            self._put(bytes(HEADER_BYTES))
            self._context = context.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Complete the header and give the stack its name, or remove it."""
        if kind is not None:
            return self._context.__exit__(kind, error, trace)
        with self._context:
            if self._written != self._n:
                message = f"{self._path}: {self._written} images were written, {self._n} were announced"
                raise ValueError(message)
            self._file.seek(0)
            self._put(self._header())
        return None

    def append(self, images: Images) -> None:
        """Write a batch ``[b, box, box]``; ValueError where the shape or a value is impossible."""
        batch = images.detach().to("cpu", torch.float32).contiguous()
        if tuple(batch.shape[1:]) != (self._box, self._box):
            message = f"{self._path}: images of {tuple(batch.shape[1:])} in a stack of {self._box} px"
            raise ValueError(message)
        if len(batch) == 0:
            return
        if self._mode == 12:
            batch = batch.to(torch.float16).to(torch.float32)  # the header describes what is stored
        low, high = (float(value) for value in batch.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            message = f"{self._path}: values that are not finite, or too large for {self._dtype.name}"
            raise ValueError(message)
        self._minimum, self._maximum = min(self._minimum, low), max(self._maximum, high)
        self._sum += float(batch.sum(dtype=torch.float64))
        self._sum_of_squares += float(batch.square().sum(dtype=torch.float64))
        self._put(batch.numpy().astype(self._dtype, copy=False).reshape(-1).view("u1").data)
        self._written += len(batch)

    def _header(self) -> bytes:
        count = max(1, self._n * self._box**2)
        mean = self._sum / count
        sigma = max(0.0, self._sum_of_squares / count - mean**2) ** 0.5
        statistics = Statistics(self._minimum, self._maximum, mean, sigma)
        shape = (self._n, self._box, self._box)
        return new_header(shape, self._pixel_size_A, statistics, is_stack=True, mode=self._mode).tobytes()

    def _put(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            raise write_refused(self._path, error) from error

    def _refuse_without_room(self) -> None:
        needed = HEADER_BYTES + self._n * self._box**2 * self._dtype.itemsize
        folder = self._path.parent
        if folder.is_dir() and (free := shutil.disk_usage(folder).free) < needed:
            raise ResourceError(
                "the disk has no room for the stack",
                expected=f"{needed / 1e9:.2f} GB",
                found=f"{free / 1e9:.2f} GB",
                remedy="Free some space, or write to another disk",
                path=self._path,
            )


def write_stack(
    path: PathLike, images: Iterable[Float[Tensor, "_ box box"]], pixel_size_A: float, n: int, *, float16: bool = False
) -> None:
    """Write ``n`` images that come in batches ``[b, box, box]`` to an MRC stack, whole or not at all.

    Raises
    ------
    ResourceError
        As :class:`StackWriter`.
    ValueError
        Where there are no images, or not ``n`` of them.
    """
    batches = iter(images)
    first = next(batches, None)
    if first is None or len(first) == 0:
        message = f"{path}: a stack without images"
        raise ValueError(message)
    with StackWriter(path, n, first.shape[-1], pixel_size_A, float16=float16) as writer:
        writer.append(first)
        for batch in batches:
            writer.append(batch)
