"""What the README says to type works, in the order in which it says it."""

import re
import shlex
import subprocess
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT, commands, fenced_blocks
from vitreous.cli.main import main
from vitreous.cli.registry import COMMANDS
from vitreous.io import open_particles, write_cs
from vitreous.methods.registry import get
from vitreous.methods.search import config

README = ROOT / "README.md"

HURRY = {"iterations": 5, "refine_iterations": 1}
"""The shortest search there is: how well it finds maps is tested elsewhere."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README takes for granted: a small stack as RELION and cryoSPARC have it."""
    folder = tmp_path_factory.mktemp("readme")
    stack = folder / "stack"
    assert main(["simulate", "phantom", "--n", "100", "--box", "32", "--snr", "1", "-o", str(stack), "--quiet"]) == 0
    for name in ("particles.star", "particles.mrcs"):
        (folder / name).symlink_to(stack / name)
    (folder / "J42").mkdir()
    write_cs(folder / "J42" / "all.cs", open_particles(stack / "particles.star"))
    rows = np.load(folder / "J42" / "all.cs")
    names = [name for name in rows.dtype.names if name != "uid"]
    parts = {
        "extracted_particles.cs": [name for name in names if not name.startswith("ctf/")],
        "P1_J42_passthrough_particles.cs": [name for name in names if name.startswith("ctf/")],
    }
    for file, kept in parts.items():
        with (folder / "J42" / file).open("wb") as out:
            np.save(out, rows[["uid", *kept]])
    return folder


def test_commands_of_the_readme(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for line in commands(README):
        program, *words = shlex.split(line)
        assert program == "vitreous"
        hurry = [f"--{name.replace('_', '-')}={value}" for name, value in HURRY.items()]
        assert main([*words, *(hurry if words[0] == "abinitio" else []), "--quiet"]) == 0, line


def test_python_example_of_the_readme(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    get("search")  # its modules' types are read when they are imported, which must not be while they are replaced
    monkeypatch.setattr(config, "SearchConfig", partial(config.SearchConfig, **HURRY))
    (example,) = fenced_blocks(README, "python")
    assert len([line for line in example.splitlines() if line]) == 10
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - this is the documentation's own code
    assert capsys.readouterr().out.split()[0] in {"solved", "ambiguous", "failed"}
    refined = open_particles("refined.star")
    assert refined.poses is not None
    assert refined.half_sets is not None
    assert len(refined) == 100


def test_the_table_of_commands_lists_all_and_no_other() -> None:
    rows = re.findall(r"^\|.*\| `vitreous (.*)` \|$", README.read_text(), flags=re.MULTILINE)
    named = {name for name in COMMANDS for row in rows if row.startswith(f"{name} ")}
    assert named == set(COMMANDS)
    assert len(rows) == len(COMMANDS)


def test_it_opens_with_demo_and_test() -> None:
    lines = [line.split("#")[0].strip() for line in README.read_text().splitlines()[1:4] if line]
    assert lines == ["make demo", "make test"]


def test_every_target_that_is_named_exists() -> None:
    text = "".join((ROOT / page).read_text() for page in ("README.md", "CONTRIBUTING.md"))
    targets = sorted(set(re.findall(r"^(?: {4}|.*`)make ([a-z-]+)", text, flags=re.MULTILINE)))
    assert targets
    run = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_version_and_licence_agree_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {project['version']}\n" in citation
    assert f"license: {project['license']}\n" in citation
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
