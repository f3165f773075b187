import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.io.bad_inputs import OPTION_TABLE, TABLE, Builder, OptionBuilder
from tests.io.samples import write_star

from vitreous.errors import ResourceError, VitreousError
from vitreous.io import open_particles


def _refusal(stack: Path, **options: Any) -> VitreousError:
    with pytest.raises(VitreousError) as caught:
        open_particles(stack, **options).images()
    return caught.value


def _is_one_clear_line(error: VitreousError) -> bool:
    message = str(error)
    return "\n" not in message and message.endswith(".") and message.count(". ") >= 1 and len(message) < 600


@pytest.mark.parametrize(("build", "fragment"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_malformed_input_gives_one_line_that_says_what_is_wrong(tmp_path: Path, build: Builder, fragment: str) -> None:
    error = _refusal(build(tmp_path))
    assert _is_one_clear_line(error)
    assert error.path is not None
    assert re.search(fragment, str(error))


@pytest.mark.parametrize(
    ("build", "fragment"), [case[1:] for case in OPTION_TABLE], ids=[case[0] for case in OPTION_TABLE]
)
def test_malformed_companion_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: OptionBuilder, fragment: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stack, options = build(tmp_path)
    given = {name: [path] if name == "passthrough" else path for name, path in options.items()}
    error = _refusal(stack, **given)
    assert _is_one_clear_line(error)
    assert re.search(fragment, str(error))
    assert not (tmp_path / "owned").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_permission_denied(tmp_path: Path) -> None:
    path = write_star(tmp_path / "p.star")
    path.chmod(0)
    assert "permission denied" in str(_refusal(path))


def test_permission_denied_by_the_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_star(tmp_path / "p.star")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    error = _refusal(path)
    assert isinstance(error, ResourceError)
    assert "permission denied" in str(error)
