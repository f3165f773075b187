"""STAR files as RELION and its relatives write them: named blocks of columns.

The structure (blocks, loops, labels) is found by one scan; the rows of a table go to pandas' C parser, which takes
about 3 s of one core for 300,000 rows of 26 columns. gemmi's CIF reader is a little faster, but one stray line makes it
reject the file; the starfile package, with the same parser behind it, turns a stray line into a particle and shifts the
columns of a row that lacks a field. Here such rows are looked at one by one and reported with their line
(:mod:`vitreous.io.star_rows`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.star_rows import RowText, parse_rows
from vitreous.typing import PathLike

_BLOCK = re.compile(rb"data_(\S*)[ \t]*(?:#.*)?$", re.MULTILINE)
_LOOP = re.compile(rb"loop_[ \t]*(?:#.*)?$", re.MULTILINE)
_LABEL = re.compile(rb"[ \t]*_(\S+)[ \t]*(?:#.*)?$")
_PAIR = re.compile(rb"^[ \t]*_(\S+)[ \t]+(\"[^\"\n]*\"|'[^'\n]*'|\S+)[ \t]*(?:#.*)?$", re.MULTILINE)
_NOT_BLANK = re.compile(rb"\S")
_IGNORED = re.compile(rb"[ \t]*(?:#.*)?$")


@dataclass(frozen=True)
class StarTable:
    """One block of a STAR file.

    Attributes
    ----------
    columns
        Columns by label without the leading underscore, in the order of the file: int64, float64 or text
        (``StringDType``). A block of label–value pairs is a table of one row.
    notes
        What had to be ignored, in plain words.
    """

    columns: Mapping[str, NDArray[Any]]
    notes: Sequence[str] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_star(path: PathLike) -> dict[str, StarTable]:
    """Read every block of a STAR file, by name without ``data_``.

    Raises
    ------
    InputError
        Where the file is missing, empty, compressed, not text, or has a table whose rows do not fit its labels.
    """
    with reading(path) as file_path:
        text = file_path.read_bytes()
    _require_text(text, file_path)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = text.removeprefix(b"\xef\xbb\xbf")
    starts = list(_lines_that_begin_with(b"data_", _BLOCK, text, 0, len(text)))
    if not starts:
        raise InputError(
            "no data block in this STAR file",
            expected="a line that begins with data_",
            remedy="Check that the file is a STAR file and was copied completely",
            path=file_path,
        )
    ends = [match.start() for match in starts[1:]] + [len(text)]
    blocks: dict[str, StarTable] = {}
    for match, end in zip(starts, ends):
        name = match.group(1).decode(errors="replace")
        if name in blocks:
            raise InputError(f"block data_{name} occurs twice", remedy="Remove or rename one of them", path=file_path)
        blocks[name] = _read_block(text, match.end(), end, file_path)
    return blocks


def _require_text(text: bytes, path: Path) -> None:
    if _NOT_BLANK.search(text) is None:
        raise InputError("the file is empty", remedy="Write or copy the STAR file again", path=path)
    if text.startswith(b"\x1f\x8b"):
        raise InputError("compressed with gzip", remedy=f"Unpack it first with `gunzip {path.name}`", path=path)
    if b"\0" in text[:4096]:
        raise InputError("not a text file, although its name says STAR", remedy="Check which file this is", path=path)


def _lines_that_begin_with(
    word: bytes, pattern: re.Pattern[bytes], text: bytes, start: int, end: int
) -> Iterator[re.Match[bytes]]:
    """Find whole lines; ``bytes.find`` first, because an anchored regex takes seconds on 100 MB of rows."""
    position = text.find(word, start, end)
    while position >= 0:
        line_start = text.rfind(b"\n", 0, position) + 1
        match = pattern.match(text, position, end)
        if match is not None and not text[line_start:position].strip():
            yield match
        position = text.find(word, position + 1, end)


def _read_block(text: bytes, start: int, end: int, path: Path) -> StarTable:
    loop = next(_lines_that_begin_with(b"loop_", _LOOP, text, start, end), None)
    if loop is None:
        pairs = _PAIR.finditer(text, start, end)
        return StarTable({m.group(1).decode(): _typed(m.group(2).decode(errors="replace")) for m in pairs})
    labels, body = _read_labels(text, loop.end() + 1, end)
    duplicates = sorted({label for label in labels if labels.count(label) > 1})
    if duplicates:
        raise InputError(
            f"column _{duplicates[0]} occurs twice in one table", remedy="Remove one of the two columns", path=path
        )
    columns, notes = parse_rows(RowText(text, body, end, path), labels)
    return StarTable(columns, notes)


def _read_labels(text: bytes, start: int, end: int) -> tuple[list[str], int]:
    """Read the label lines of a loop; return them and where the rows begin."""
    labels: list[str] = []
    position = start
    while position < end:
        stop = text.find(b"\n", position, end)
        stop = end if stop < 0 else stop
        line = text[position:stop]
        label = _LABEL.match(line)
        if label is not None:
            labels.append(label.group(1).decode(errors="replace"))
        elif not _IGNORED.match(line):
            break
        position = stop + 1
    return labels, min(position, end)


def _typed(value: str) -> NDArray[Any]:
    value = value[1:-1] if value[0] == value[-1] and value[0] in "\"'" and len(value) > 1 else value
    for kind in (int, float):
        try:
            return np.array([kind(value)])
        except ValueError:
            continue
    return np.array([value], dtype=np.dtypes.StringDType())
