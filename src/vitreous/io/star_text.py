"""STAR text from columns, as RELION 3.1 and later write it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.typing import PathLike

_ROWS_AT_A_TIME = 50_000


def write_star_blocks(path: PathLike, blocks: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Write tables as loops, one block each; floats with the digits that bring back the same number."""
    from vitreous.io.atomic import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:
        for name, columns in blocks.items():
            file.write(f"\n# version 30001\n\ndata_{name}\n\nloop_\n")
            file.writelines(f"_{label} #{number}\n" for number, label in enumerate(columns, 1))
            for chunk in _chunks(columns):
                file.write(chunk)
            file.write("\n\n")


def _chunks(columns: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    n = len(next(iter(columns.values()), ()))
    for start in range(0, n, _ROWS_AT_A_TIME):
        fields = [_texts(column[start : start + _ROWS_AT_A_TIME]) for column in columns.values()]
        yield "\n".join(map(" ".join, zip(*fields))) + "\n"


def _texts(column: NDArray[Any]) -> list[str]:
    kind = column.dtype.kind
    if kind == "f":
        # A float32 is written with its own shortest digits, not with those of the float64 next to it.
        return list(map(repr, column.tolist())) if column.dtype.itemsize == 8 else column.astype(str).tolist()
    if kind in "iub":
        return list(map(str, column.astype(np.int64).tolist() if kind == "b" else column.tolist()))
    texts = column.astype(str).tolist() if kind == "S" else column.tolist()
    return [text if _is_plain(text) else _quoted(text) for text in texts]


def _is_plain(text: str) -> bool:
    return bool(text) and not any(character.isspace() for character in text) and text[0] not in "\"'_#"


def _quoted(text: str) -> str:
    return f'"{text}"' if '"' not in text else f"'{text}'"
