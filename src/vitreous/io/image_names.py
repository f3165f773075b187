"""Image names: ``000012@folder/stack.mrcs`` and what is equivalent to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.io.listing import ImageNames

STACK_MARK = ":mrcs"
"""What RELION needs behind the name of a stack whose suffix is ``.mrc``; it is no part of the name."""

_TEXT = np.dtypes.StringDType()


def parse_image_names(column: NDArray[Any], path: Path) -> ImageNames:
    """Split a column of image names; a name without ``@`` is the first image of its file.

    Raises
    ------
    InputError
        Where an index is not a positive integer.
    """
    texts = column.astype(_TEXT)
    head, at, tail = np.strings.partition(texts, np.array("@", dtype=_TEXT))
    single = at == ""
    index_text = np.where(single, np.array("1", dtype=_TEXT), head)
    good = np.strings.isdigit(index_text)
    if not good.all():
        _refuse_index(texts, int(np.argmin(good)), path)
    index = index_text.astype(np.int64)
    if (index < 1).any():
        _refuse_index(texts, int(np.argmax(index < 1)), path)
    stacks, codes = factorize(np.where(single, head, tail))
    return ImageNames(tuple(name.removesuffix(STACK_MARK) for name in stacks), codes, index - 1)


def factorize(texts: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the distinct texts in order of appearance and the index of each row's text."""
    codes, distinct = pd.factorize(np.array(texts.tolist(), dtype=object))
    return tuple(str(text) for text in distinct), codes.astype(np.int64)


def joined_names(slice_index: NDArray[np.int64], stacks: NDArray[Any], *, width: int = 0) -> NDArray[Any]:
    """Return ``index@stack`` with a 1-based index, padded with zeros to ``width`` digits."""
    index = np.strings.zfill((slice_index + 1).astype(str), width)
    return np.strings.add(np.strings.add(index, "@"), stacks)


def split_ids(ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Split ``index@stack`` into the two parts."""
    index, _, stack = np.strings.partition(ids, "@")
    return index, stack


def _refuse_index(texts: NDArray[Any], row: int, path: Path) -> None:
    raise InputError(
        f"row {row + 1}: image name without a valid index",
        expected="index@stack with an index from 1",
        found=repr(str(texts[row])),
        remedy="Correct rlnImageName",
        path=path,
    )
