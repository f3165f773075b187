"""Which processor this is."""

import platform
from pathlib import Path

_INFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2"}
"""What decides how fast products are, by the flag that the system shows; the best first."""


def processor_name() -> str:
    """Return the processor's name and what decides its speed: ``"AMD EPYC (family 25, model 1, AVX2)"``.

    Cloud machines of different generations share a name; only what the system tells of them is given.
    """
    try:
        lines = _INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    flags = set(told.get("flags", "").split())
    generation = [f"{word} {told[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in told]
    details = generation + [name for flag, name in _INSTRUCTIONS.items() if flag in flags][:1]
    name = told.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({', '.join(details)})" if details else name
