"""Noise-free images on disk between the two passes of a simulation."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import final

import numpy as np
import torch

from vitreous.io.access import write_refused
from vitreous.typing import Images, Int


@final
class CleanImages:
    """Float32 images written in any order and read back in order; the file has no name and cannot be left behind.

    Raises
    ------
    ResourceError
        Where the disk refuses.
    """

    def __init__(self, folder: Path, box: int) -> None:
        self._folder, self._box = folder, box
        self._bytes = 4 * box * box
        self._sum = self._sum_of_squares = 0.0
        self._count = 0

    def __enter__(self) -> "CleanImages":
        """Open the file."""
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise write_refused(self._folder, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, by which it vanishes."""
        self._file.close()

    @property
    def variance(self) -> float:
        """Variance over all pixels of all images written so far."""
        mean = self._sum / self._count
        return self._sum_of_squares / self._count - mean**2

    def write(self, rows: Int[torch.Tensor, " b"], images: Images) -> None:
        """Store images at the given places of the stack."""
        flat = images.reshape(len(images), -1)
        self._sum += float(flat.sum(1).double().sum())
        self._sum_of_squares += float(torch.linalg.vector_norm(flat, dim=1).double().square().sum())
        self._count += images.numel()
        try:
            for row, image in zip(rows.tolist(), images.contiguous().numpy()):
                os.pwrite(self._file.fileno(), image.data, row * self._bytes)
        except OSError as error:
            raise write_refused(self._folder, error) from error

    def read(self, start: int, stop: int) -> Images:
        """Return images ``start`` to ``stop`` (exclusive)."""
        data = os.pread(self._file.fileno(), (stop - start) * self._bytes, start * self._bytes)
        values = np.frombuffer(bytearray(data), dtype=np.float32)
        return torch.from_numpy(values).reshape(stop - start, self._box, self._box)
