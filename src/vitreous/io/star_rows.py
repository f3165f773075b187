"""Rows of a STAR loop: a fast path for regular text and a careful one that names the line that is wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitreous.errors import InputError

Columns = dict[str, NDArray[Any]]

_COMMENT = re.compile(rb"(?:^|(?<=[ \t]))#[^\n\"']*$", re.MULTILINE)
_NOT_BLANK = re.compile(rb"\S")
_TOKEN = re.compile(rb"\"[^\"]*\"(?=\s|$)|'[^']*'(?=\s|$)|\S+")
_QUOTES_THAT_NEED_CARE = re.compile(rb"(?:^|\s)'|\S\"\S")


@dataclass(frozen=True)
class RowText:
    """Where the rows of a loop are: ``text[start:end]`` of the file at ``path`` (not cut out, it may be large)."""

    text: bytes
    start: int
    end: int
    path: Path
    lines_before: int = 0

    def __contains__(self, part: bytes) -> bool:
        return self.text.find(part, self.start, self.end) >= 0

    @property
    def first_line(self) -> int:
        """Number of the first line of the rows, from 1."""
        return self.lines_before + self.text.count(b"\n", 0, self.start) + 1

    def line(self, number: int) -> bytes:
        """Return the line of that number, from 1."""
        return self.text[self.start : self.end].split(b"\n")[number - self.first_line]

    def without_comments(self) -> "RowText":
        """Return the rows without what stands behind a ``#`` that begins a word; lines keep their numbers."""
        if b"#" not in self:
            return self
        text = _COMMENT.sub(b"", self.text[self.start : self.end])
        return RowText(text, 0, len(text), self.path, self.first_line - 1)

    def opened(self) -> BytesIO:
        """Return a file of the rows; rows at the end of the file, as they mostly are, are not copied."""
        if self.end < len(self.text):
            return BytesIO(self.text[self.start : self.end])
        file = BytesIO(self.text)
        file.seek(self.start)
        return file


def parse_rows(rows: RowText, labels: Sequence[str]) -> tuple[Columns, list[str]]:
    """Split rows into typed columns.

    Returns the columns, and notes on stray lines: lines with less than half of the fields and without an image
    name, which some public files contain and RELION skips.

    Raises
    ------
    InputError
        Where a row has too many or too few fields; the message names its line.
    """
    if not labels:
        raise InputError("a loop without column labels", remedy="Write the STAR file again", path=rows.path)
    original, rows = rows, rows.without_comments()
    if _NOT_BLANK.search(rows.text, rows.start, rows.end) is None:
        return {label: np.empty(0) for label in labels}, []
    frame = None if _has_odd_quotes(rows) else _parse_fast(rows.opened(), labels)
    notes: list[str] = []
    if frame is None:
        regular, notes = _regular_rows(rows, len(labels), original)
        if not regular:
            return {label: np.empty(0) for label in labels}, notes
        frame = _parse_fast(BytesIO(b"\n".join(regular)), labels, is_regular=True)
    if frame is None:
        raise InputError(
            "a table whose rows cannot be split into fields", remedy="Write the STAR file again", path=rows.path
        )
    return {label: _as_array(frame[index]) for index, label in enumerate(labels)}, notes


def _has_odd_quotes(rows: RowText) -> bool:
    """Tell whether there are quotes that the C parser takes otherwise than STAR does."""
    if b'"' not in rows and b"'" not in rows:
        return False
    return _QUOTES_THAT_NEED_CARE.search(rows.text, rows.start, rows.end) is not None


def _parse_fast(file: BytesIO, labels: Sequence[str], *, is_regular: bool = False) -> pd.DataFrame | None:
    """Parse regular rows; None where a row has another number of fields than there are labels."""
    named = {index: object for index, label in enumerate(labels) if "Name" in label}
    try:
        frame = pd.read_csv(
            file,
            sep=r"\s+",
            header=None,
            engine="c",
            na_filter=False,
            low_memory=False,
            dtype=named,
            encoding_errors="replace",
        )
    except (pd.errors.ParserError, ValueError):
        return None
    if frame.shape[1] != len(labels):
        return None
    # The C parser pads a short row silently: its last field is then empty, as no field in STAR is without quotes.
    last = frame.iloc[:, -1]
    is_padded = (last == "").any() if last.dtype.kind not in "iuf" else last.isna().any()
    return None if is_padded and not is_regular else frame


def _regular_rows(rows: RowText, n_columns: int, original: RowText) -> tuple[list[bytes], list[str]]:
    """Bring rows into the form that the C parser knows, line by line; ``original`` still has its comments."""
    regular: list[bytes] = []
    stray: list[int] = []
    for number, line in enumerate(rows.text[rows.start : rows.end].split(b"\n"), rows.first_line):
        tokens = _TOKEN.findall(line)
        if not tokens:
            continue
        if len(tokens) == n_columns:
            regular.append(b" ".join(map(_double_quoted, tokens)))
        elif len(tokens) < n_columns / 2 and b"@" not in line:
            stray.append(number)
        else:
            commented = line != original.line(number)
            raise InputError(
                f"line {number}: a row that does not fit the column labels",
                expected=f"{n_columns} fields",
                found=f"{len(tokens)} before #, which begins a comment" if commented else len(tokens),
                remedy="Put text with # in quotes" if commented else "Correct the row, or write the STAR file again",
                path=rows.path,
            )
    if not stray:
        return regular, []
    return regular, [f"ignored {len(stray)} stray line(s) without an image name in {rows.path}, first: line {stray[0]}"]


def _double_quoted(token: bytes) -> bytes:
    """Quote a token in the one way that the C parser knows."""
    if token[:1] == token[-1:] and token[:1] in {b'"', b"'"} and len(token) > 1:
        token = token[1:-1]
    elif b'"' not in token:
        return token
    return b'"' + token.replace(b'"', b'""') + b'"'


def _as_array(column: "pd.Series[Any]") -> NDArray[Any]:
    """Return int64 or float64 where every field is a number, else text."""
    if column.dtype.kind in "if":
        return column.to_numpy()
    return np.array([str(value) for value in column.tolist()], dtype=np.dtypes.StringDType())
