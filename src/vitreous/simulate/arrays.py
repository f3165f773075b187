"""NumPy archives that users bring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from vitreous.errors import InputError
from vitreous.typing import PathLike


def read_arrays(path: PathLike, what: str) -> dict[str, NDArray[Any]]:
    """Read a ``.npz`` without unpickling anything; ``what`` names its content in messages.

    Raises
    ------
    InputError
        If it is missing, unreadable or holds objects.
    """
    if not Path(path).is_file():
        raise InputError(f"no such {what} file", path=path, remedy="Check the path")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:
        raise InputError(
            f"cannot be read as a {what}", path=path, remedy="Give a NumPy .npz of numbers and strings, no objects"
        ) from error


def numbers(
    arrays: Mapping[str, NDArray[Any]], name: str, n: int, path: PathLike, default: float | None = None
) -> NDArray[np.float64]:
    """Return a list of ``n`` finite numbers; ``default`` stands for an array that is absent.

    Raises
    ------
    InputError
        If it is absent without a default, or not such a list.
    """
    values = arrays.get(name)
    if values is None and default is not None:
        return np.full(n, default)
    if values is None:
        raise InputError(f"lacks {name}", found=", ".join(arrays) or "no arrays", path=path, remedy=f"Add {name}")
    if values.dtype.kind not in "iuf" or values.shape != (n,) or not np.isfinite(values).all():
        raise InputError(
            f"{name} cannot be used",
            expected=f"{n} finite numbers",
            found=f"{values.dtype} {list(values.shape)}",
            path=path,
            remedy="Correct that array",
        )
    return values.astype(np.float64)
