"""Which device computes."""

import re
import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch

from vitreous.errors import ConfigError, ResourceError

_device = torch.device("cpu")


def compute_device() -> torch.device:
    """Return the device that :func:`use_device` chose; the CPU by default."""
    return _device


def use_device(device: torch.device) -> None:
    """Choose where the parts of a computation that can run on a GPU run, for the whole process."""
    global _device
    _device = device


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


def fastest_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which matrix products are fastest: bfloat16 where the hardware multiplies in it."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return torch.autocast("cpu", torch.bfloat16) if _cpu_multiplies_bfloat16() else nullcontext()


@lru_cache(maxsize=1)
def _cpu_multiplies_bfloat16() -> bool:
    """Measure: on processors without such instructions bfloat16 is emulated, many times slower than float32."""
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(512, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype)
        a @ b
        started = time.perf_counter()
        for _ in range(5):
            a @ b
        seconds.append(time.perf_counter() - started)
    return seconds[1] < seconds[0]
