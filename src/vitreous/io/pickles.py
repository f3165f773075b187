"""Pickles of numpy arrays from other programs, read without running what they may contain."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.typing import PathLike

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFER_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
_ALLOWED = (
    {(module, name) for module in _ARRAY_MODULES for name in ("_reconstruct", "scalar")}
    | {(module, "_frombuffer") for module in _BUFFER_MODULES}
    | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
)
"""What a pickled array of numbers refers to, in numpy 1 and 2 and in every protocol."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            message = f"{module}.{name}"
            raise pickle.UnpicklingError(message)
        return super().find_class(module, name)


def read_arrays(path: PathLike) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """Read a pickle that holds one numeric array or a tuple or list of them.

    Raises
    ------
    InputError
        Where it refers to anything but numpy arrays (a pickle can carry code), or is not a pickle of arrays.
    """
    with reading(path) as file_path:
        data = file_path.read_bytes()
    try:
        loaded = _ArrayUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise InputError(
            "the pickle holds more than numbers, or is damaged",
            expected="numpy arrays",
            found=str(error)[:80],
            remedy="Do not trust this file; write poses or CTF values again with cryoDRGN",
            path=path,
        ) from error
    except Exception as error:
        raise _not_arrays(Path(path)) from error
    arrays = list(loaded) if isinstance(loaded, tuple | list) else [loaded]
    if not arrays or any(not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" for array in arrays):
        raise _not_arrays(Path(path))
    return arrays


def _not_arrays(path: Path) -> InputError:
    return InputError(
        "not a pickle of numeric arrays", remedy="Give a poses or CTF file written by cryoDRGN", path=path
    )
