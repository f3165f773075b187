"""Particle images in MRC stacks: read when they are needed, in batches, from one file or from many thousands."""

import copy
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.data import ImageSource, SubsetSource
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.transform import fourier_crop
from vitreous.io.background import Background
from vitreous.io.mrc import MrcHeader, read_header
from vitreous.io.open_files import OpenFiles
from vitreous.io.stack_writer import StackWriter, write_stack
from vitreous.io.unusable import CONSTANT, NO_NOISE, NOT_FINITE, unusable_error
from vitreous.typing import Bool, Images, Int

__all__ = ["StackSource", "StackWriter", "usable_images", "write_stack"]

_CHUNK_BYTES = 8 << 20

_LEAST_SAMPLE, _SAMPLE = 4, 64
"""Images, fewest and most, that tell whether a stack has noise."""
"""Float32 pixels handled at a time: temporary memory stays at a few times this, whatever is asked for."""

_SEARCH_S = 20.0
"""How long images are looked through for all that are to be named in an error."""


@final
class StackSource:
    """Images of one or many MRC files, an :class:`vitreous.data.ImageSource`.

    Every header is checked at once; pixels are read on demand, by position, and nothing is kept, so that memory does
    not grow with the number of particles. Safe to use from several threads, and picklable.

    Images come out as float32 with background mean 0 and σ 1 (outside the circle of ``background_radius_px``),
    multiplied by ``contrast_sign``. In a stack without noise, where the background's σ says nothing of an image's
    scale, it is 1 in the root mean square of all images. With ``box`` images are first cropped in Fourier space to the
    same field of view. Cropped white noise then has power 1 per kept coefficient of the unitary transform, as white
    noise of σ 1 has without cropping. Since the Nyquist row and column of an even target box are empty, the σ of the
    background is ``1 − 1/box`` there, and 1 for an odd one.

    Parameters
    ----------
    files
        The stacks.
    file_index, slice_index
        For each particle the index into ``files`` and the section in that file, both from 0.
    pixel_size_A
        Pixel size of the files; ``source.pixel_size_A`` is that of the images as read.
    ids
        Names of the particles for messages; ``index@stack`` by default.
    box
        Side to crop to; by default that of the files.
    contrast_sign
        +1 for files that are bright on dark, −1 for dark on bright.
    normalise
        Whether to normalise the background.
    background_radius_px
        Radius of the circle that the background lies outside of, in pixels of the files. By default half the box:
        the corners are what lies farthest from a particle that fills its box.

    Raises
    ------
    InputError
        Where a file is unusable, not square, of another box than the first one, or has no such section; on reading,
        where an image is constant or holds NaN or infinite values.
    ConfigError
        Where ``box`` is larger than the images.
    """

    def __init__(
        self,
        files: Sequence[Path],
        file_index: Int[Tensor, " n"],
        slice_index: Int[Tensor, " n"],
        pixel_size_A: float,
        *,
        ids: NDArray[Any] | None = None,
        box: int | None = None,
        contrast_sign: float = 1.0,
        normalise: bool = True,
        background_radius_px: float | None = None,
    ) -> None:
        self._headers = [read_header(file) for file in files]
        self._file_index = file_index.numpy().astype(np.int64)
        self._slice_index = slice_index.numpy().astype(np.int64)
        self._ids = ids
        self._sign = float(contrast_sign)
        self._file_box = _common_box(self._headers)
        self._check_sections()
        self._box = self._file_box if box is None else box
        if not 1 < self._box <= self._file_box:
            raise ConfigError(
                "images cannot be resampled to this box",
                expected=f"a box of 2 to {self._file_box} px",
                found=f"{box} px",
                remedy="Choose another --box",
            )
        self._pixel_size_A = pixel_size_A * self._file_box / self._box
        self._open_files = OpenFiles()
        self._background: Background | None = None
        self._knows_noise = False
        if normalise:
            radius = self._file_box // 2 if background_radius_px is None else background_radius_px
            kept = ((self._box - 1) // 2 * 2 + 1) / self._box if self._box < self._file_box else 1.0
            self._background = Background.outside(self._box, radius * self._box / self._file_box, kept)

    @property
    def box(self) -> int:
        """Side of the images as read, in pixels."""
        return self._box

    @property
    def pixel_size_A(self) -> float:
        """Side of a pixel of the images as read, in Å."""
        return self._pixel_size_A

    @property
    def headers(self) -> Sequence[MrcHeader]:
        """Headers of the files."""
        return self._headers

    def __len__(self) -> int:
        return len(self._file_index)

    def with_contrast(self, sign: float) -> "StackSource":
        """Return the same images multiplied by another sign, without checking the files again."""
        other = copy.copy(self)
        other._sign = float(sign)
        return other

    def read(self, indices: Int[Tensor, " b"]) -> Images:
        """Read images ``[b, box, box]``, float32."""
        rows = indices.numpy()
        # In the order of the files, whatever the order asked for: neighbours come in one piece.
        order = np.lexsort((self._slice_index[rows], self._file_index[rows]))
        self._look_for_noise()
        out = torch.empty((len(rows), self._box, self._box), dtype=torch.float32)
        step = max(1, _CHUNK_BYTES // (4 * self._file_box**2))
        for start in range(0, len(order), step):
            places = order[start : start + step]
            images, unusable = self._read_chunk(rows[places])
            if unusable.any():
                self._refuse()
            out[torch.from_numpy(places)] = images
        return out

    def unusable(self, limit_s: float = math.inf) -> tuple[dict[int, str], bool]:
        """Look through all images, or through as many as the time allows, for some that cannot be used.

        Returns
        -------
        reasons, is_whole
            What is wrong with each, by row; whether all images were looked at.
        """
        self._look_for_noise()
        reasons: dict[int, str] = {}
        end = time.monotonic() + limit_s
        order = np.lexsort((self._slice_index, self._file_index))
        step = max(1, _CHUNK_BYTES // (4 * self._file_box**2))
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            reasons |= {int(row): self._reason(int(row)) for row in rows[self._read_chunk(rows)[1].numpy()]}
            if reasons and time.monotonic() > end:
                return reasons, start + step >= len(order)
        return reasons, True

    def _look_for_noise(self) -> None:
        """Settle, from some images of the whole stack, whether each is on the scale of its own noise."""
        if self._background is not None and not self._knows_noise:
            count = min(len(self), max(_LEAST_SAMPLE, _CHUNK_BYTES // (4 * self._file_box**2)), _SAMPLE)
            some = np.linspace(0, len(self) - 1, count).astype(np.int64)
            rows = some[np.lexsort((self._slice_index[some], self._file_index[some]))]
            self._background = self._background.for_stack(self._pixels(rows))
        self._knows_noise = True

    def _read_chunk(self, rows: NDArray[Any]) -> tuple[Images, Bool[Tensor, " n"]]:
        """Read neighbouring images, and tell which cannot be used."""
        images = self._pixels(rows)
        if self._background is None:
            flat = images.view(len(images), -1)
            unusable = ~flat.sum(dim=1).isfinite() | (flat.amax(dim=1) == flat.amin(dim=1))
        else:
            unusable = self._background.normalise_(images)
        return images.mul_(self._sign) if self._sign != 1.0 else images, unusable

    def _pixels(self, rows: NDArray[Any]) -> Images:
        """Read neighbouring images as they are, cropped."""
        files, sections = self._file_index[rows], self._slice_index[rows]
        pixels = np.empty((len(rows), self._file_box, self._file_box), np.float32)
        breaks = np.flatnonzero((np.diff(files) != 0) | (np.diff(sections) != 1)) + 1
        edges = [0, *breaks.tolist(), len(rows)]
        for first, last in pairwise(edges):
            self._read_run(pixels[first:last], self._headers[files[first]], int(sections[first]))
        images = torch.from_numpy(pixels)
        return images if self._box == self._file_box else fourier_crop(images, self._box).contiguous()

    def _read_run(self, out: NDArray[np.float32], header: MrcHeader, section: int) -> None:
        native = header.dtype == out.dtype
        raw = out if native else np.empty(out.shape, header.dtype)
        self._open_files.read_into(raw, header.path, header.data_offset + section * header.image_bytes)
        if not native:
            out[...] = raw

    def _refuse(self) -> None:
        """Raise the error that names the images that cannot be used."""
        reasons, is_whole = self.unusable(_SEARCH_S)
        path = self._headers[self._file_index[next(iter(reasons))]].path
        named = {self._name(row): reason for row, reason in reasons.items()}
        raise unusable_error(named, path, len(self), is_whole=is_whole)

    def _reason(self, row: int) -> str:
        """Say what is wrong with an image that could not be normalised."""
        header = self._headers[self._file_index[row]]
        pixels = np.empty((self._file_box, self._file_box), np.float32)
        self._read_run(pixels, header, int(self._slice_index[row]))
        if not np.isfinite(pixels).all():
            return NOT_FINITE
        return CONSTANT if pixels.min() == pixels.max() else NO_NOISE

    def _name(self, row: int) -> str:
        if self._ids is not None:
            return str(self._ids[row])
        return f"{self._slice_index[row] + 1}@{self._headers[self._file_index[row]].path.name}"

    def _check_sections(self) -> None:
        available = np.array([header.n_images for header in self._headers])
        if len(self._file_index) != len(self._slice_index):
            message = f"{len(self._file_index)} file indices for {len(self._slice_index)} slice indices"
            raise ValueError(message)
        wrong = np.flatnonzero((self._slice_index < 0) | (self._slice_index >= available[self._file_index]))
        if len(wrong):
            row = int(wrong[0])
            header = self._headers[self._file_index[row]]
            raise InputError(
                "the stack has no such image",
                expected=f"an index from 1 to {header.n_images}",
                found=int(self._slice_index[row]) + 1,
                remedy="Check that the table and the stack belong together",
                path=header.path,
                particle=self._name(row),
            )


def usable_images(source: ImageSource) -> NDArray[np.bool_]:
    """Read all images of a source and tell which can be used; those in memory were read before."""
    if isinstance(source, SubsetSource):
        return usable_images(source.parent)[source.indices.numpy()]
    found = np.ones(len(source), bool)
    if isinstance(source, StackSource):
        found[list(source.unusable()[0])] = False
    return found


def _common_box(headers: Sequence[MrcHeader]) -> int:
    if not headers:
        raise InputError("there are no image files", remedy="Check that the particle table is not empty")
    box = headers[0].nx
    for header in headers:
        if header.nx != header.ny:
            what, expected, remedy = "the images are not square", "square images", "Extract them in a square box"
        elif header.nx != box:
            what, expected = "the images differ in box size", f"{box} x {box} as in {headers[0].path.name}"
            remedy = "Extract all particles with one box size"
        else:
            continue
        raise InputError(what, expected=expected, found=f"{header.nx} x {header.ny}", remedy=remedy, path=header.path)
    return box
