"""Rows of a STAR loop: a fast path for regular text and a careful one that names the line that is wrong."""

import re
from collections.abc import Sequence
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


def parse_rows(body: bytes, labels: Sequence[str], *, first_line: int, path: Path) -> tuple[Columns, list[str]]:
    """Split rows into typed columns.

    Returns the columns, and notes on stray lines: lines with too few fields and without an image name, which some
    public files contain and RELION skips.

    Raises
    ------
    InputError
        Where a row has too many or too few fields; the message names its line.
    """
    if not labels:
        raise InputError("a loop without column labels", remedy="Write the STAR file again", path=path)
    text = _COMMENT.sub(b"", body) if b"#" in body else body
    if _NOT_BLANK.search(text) is None:
        return {label: np.empty(0) for label in labels}, []
    frame = None if _has_odd_quotes(text) else _parse_fast(text, labels)
    notes: list[str] = []
    if frame is None:
        rows, notes = _regular_rows(text, len(labels), first_line, path)
        if not rows:
            return {label: np.empty(0) for label in labels}, notes
        frame = _parse_fast(b"\n".join(rows), labels)
    if frame is None:
        raise InputError(
            "a table whose rows cannot be split into fields", remedy="Write the STAR file again", path=path
        )
    return {label: _as_array(frame[index]) for index, label in enumerate(labels)}, notes


def _has_odd_quotes(text: bytes) -> bool:
    """Tell whether there are quotes that the C parser takes otherwise than STAR does."""
    return (b'"' in text or b"'" in text) and _QUOTES_THAT_NEED_CARE.search(text) is not None


def _parse_fast(text: bytes, labels: Sequence[str]) -> pd.DataFrame | None:
    """Parse regular rows; None where a row has another number of fields than there are labels."""
    named = {index: object for index, label in enumerate(labels) if "Name" in label}
    try:
        frame = pd.read_csv(
            BytesIO(text),
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
    # The C parser pads a short row silently; its last field is then empty (or NaN) and nothing else is.
    last = frame.iloc[:, -1]
    short = bool((last == "").any()) if last.dtype.kind not in "iufb" else bool(last.isna().any())
    return None if short and b'""' not in text else frame


def _regular_rows(text: bytes, n_columns: int, first_line: int, path: Path) -> tuple[list[bytes], list[str]]:
    rows: list[bytes] = []
    stray: list[int] = []
    for offset, line in enumerate(text.split(b"\n")):
        tokens = _TOKEN.findall(line)
        if not tokens:
            continue
        if len(tokens) == n_columns:
            rows.append(b" ".join(map(_double_quoted, tokens)))
        elif len(tokens) < n_columns and b"@" not in line:
            stray.append(first_line + offset)
        else:
            raise InputError(
                f"line {first_line + offset}: a row that does not fit the column labels",
                expected=f"{n_columns} fields",
                found=len(tokens),
                remedy="Correct the row, or write the STAR file again",
                path=path,
            )
    if not stray:
        return rows, []
    return rows, [f"ignored {len(stray)} stray line(s) without an image name in {path}, first: line {stray[0]}"]


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
