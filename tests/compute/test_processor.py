"""The processor's name tells generations apart."""

import platform
from pathlib import Path

import pytest

from vitreous.compute import processor

CORE = "processor\t: {}\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f {}\n\n"


def told(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> str:
    path.write_text(text)
    monkeypatch.setattr(processor, "_INFO", path)
    return processor.processor_name()


@pytest.mark.parametrize(("flags", "said"), [("avx512_bf16", "AVX512-BF16"), ("", "AVX512")])
def test_generation_and_best_instructions_are_told(monkeypatch, tmp_path, flags: str, said: str) -> None:
    text = CORE.format(0, flags) + CORE.format(1, "amx_bf16")
    assert told(monkeypatch, tmp_path / "info", text) == f"AMD EPYC (family 25, model 17, {said})"


def test_what_the_system_does_not_tell_is_left_out(monkeypatch, tmp_path) -> None:
    assert told(monkeypatch, tmp_path / "info", "model name : Abacus 2\n") == "Abacus 2"
    monkeypatch.setattr(processor, "_INFO", tmp_path / "none")
    assert processor.processor_name() == (platform.processor() or platform.machine())
