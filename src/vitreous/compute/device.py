"""Which device computes."""

import re

import torch

from vitreous.errors import ConfigError, ResourceError


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; auto is the first GPU, else the CPU.

    Raises
    ------
    ConfigError
        Where the name is none of these.
    ResourceError
        Where there is no such GPU, or torch was built without CUDA.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name.strip().lower())
    if match is None:
        raise ConfigError(
            "unknown --device", expected="auto, cpu, cuda or cuda:N", found=name, remedy="Choose one of these"
        )
    kind = match[0].split(":")[0]
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    index = int(match[1] or 0)
    _require_gpu(index)
    return torch.device("cuda", index)


def _require_gpu(index: int) -> None:
    if torch.version.cuda is None:
        raise ResourceError(
            "this PyTorch was built without CUDA",
            found=f"torch {torch.__version__}",
            remedy="Use --device cpu, or install PyTorch with CUDA",
        )
    if not torch.cuda.is_available():
        raise ResourceError(
            "no usable GPU", remedy="Use --device cpu, or check with `nvidia-smi` that the driver sees the GPU"
        )
    if index >= torch.cuda.device_count():
        raise ResourceError(
            f"there is no GPU {index}",
            expected=f"cuda:0 to cuda:{torch.cuda.device_count() - 1}",
            found=f"cuda:{index}",
            remedy="Choose one of these",
        )
