"""Tensors by name in safetensors files, which hold numbers and never code."""

import os
import re
from collections.abc import Mapping

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.atomic import atomic_path
from vitreous.typing import PathLike


def save_tensors(path: PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and a few words about them, whole or not at all.

    Tensors may live on any device, share memory or be views.

    Raises
    ------
    ResourceError
        Where the disk is full or refuses.
    """
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        mode = temporary.stat().st_mode
        try:
            save_file(plain, temporary, dict(metadata or {}))
        except SafetensorError as error:
            # The system's reason comes as text only: "… (os error 28)".
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
        temporary.chmod(mode)  # as the user's umask has it: the library lets nobody else read


def load_tensors(path: PathLike, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata that :func:`save_tensors` wrote.

    Raises
    ------
    InputError
        Where the file is missing, truncated or not a safetensors file.
    """
    try:
        with reading(path), safe_open(path, framework="pt", device=str(device)) as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(
            f"not a readable safetensors file: {error}",
            remedy="It may be half-copied or of another format: copy it again, or start without it",
            path=path,
        ) from error
