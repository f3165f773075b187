"""The program around the commands: help, start-up, exit codes, one line per error."""

import errno
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli import registry
from vitreous.cli.main import main
from vitreous.cli.options import Basic, Common
from vitreous.cli.parsing import with_units
from vitreous.errors import ConfigError, InputError
from vitreous.methods.registry import METHODS, get


@dataclass(frozen=True)
class Inner:
    """A nested group."""

    symmetry: str = "C1"
    """Point group."""

    def __post_init__(self) -> None:
        if self.symmetry == "C0":
            raise ConfigError("--symmetry C0 does not exist", remedy="Give C1")


@dataclass(frozen=True)
class Probe:
    """A command that does what the test says."""

    stack: Positional[Path]
    """Input."""
    output: Annotated[Path, arg(aliases=("-o",))] = Path("out")
    """Output."""
    inner: OmitArgPrefixes[Inner] = field(default_factory=Inner)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    seen: ClassVar[list] = []
    failure: ClassVar[Any] = None

    def run(self, context: Any) -> None:
        Probe.seen.append((self, context))
        if Probe.failure is not None:
            raise Probe.failure


@pytest.fixture
def probe(monkeypatch):
    entry = registry.Entry(__name__, "Probe", "a command for tests")
    monkeypatch.setitem(registry.COMMANDS, "probe", entry)
    monkeypatch.setitem(registry.COMMANDS, "group one", entry)
    monkeypatch.setattr(Probe, "seen", [])
    monkeypatch.setattr(Probe, "failure", None)
    return Probe


def fails(capsys, *words: str) -> tuple[int, str]:
    """Run a command line that must fail with exactly one line on stderr; return the code and the line."""
    code = main(words)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return code, err


def test_help_starts_fast_and_without_torch():
    program = (
        "import sys, vitreous.cli.main as m; code = m.main(['--help']);"
        "sys.exit(code or any(n in sys.modules for n in ('torch', 'numpy', 'lightning_fabric', 'tyro')))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - started < 1.5  # 0.1 s on an idle core
    for name in registry.COMMANDS:
        assert name in done.stdout


def test_help_breaks_lines_where_the_terminal_does_and_not_the_source(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["flex", "--help"]) == 0
    assert "never saw; cryodrgn, the same without" in capsys.readouterr().out


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_every_command_loads_and_shows_help(name, capsys):
    command = registry.COMMANDS[name].load()
    assert callable(command.run)
    assert main([*name.split(), "--help"]) == 0
    assert f"usage: vitreous {name}" in capsys.readouterr().out


def test_words_reach_the_command(probe):
    assert main(["probe", "a.star", "-o", "run", "--symmetry", "D2", "--threads", "3", "--quiet"]) == 0
    command, context = probe.seen[0]
    assert (command.stack, command.output, command.inner) == (Path("a.star"), Path("run"), Inner("D2"))
    assert command.common == Common(threads=3, quiet=True)
    assert context.config["inner"] == {"symmetry": "D2"}
    assert "quiet" not in context.config["common"]


def test_group_lists_its_commands(probe, capsys):
    assert main(["group"]) == 0
    out = capsys.readouterr().out
    assert "group one" in out
    assert "probe" not in out
    assert main(["group", "one", "x"]) == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["prob"], "Did you mean probe?\n"),
        (["grouq", "one"], "no command 'grouq'"),
        (["group", "on"], "Did you mean group one?"),
        (["--wrong"], "no command '--wrong'"),
        (["probe", "a", "--symetry", "C2"], "Did you mean --symmetry?"),
        (["probe", "a", "--symetry=C2"], "Did you mean --symmetry?"),
        (["probe", "a", "b"], "no option or place for 'b'"),
        (["probe"], "required option is missing: PATH"),
        (["probe", "a", "--threads", "many"], "--threads"),
        (["probe", "a", "--threads", "0"], "--threads must be at least 1"),
        (["probe", "a", "--precision", "8"], "--precision"),
        (["probe", "a", "--symmetry"], "--symmetry"),
        (["probe", "a", "--symmetry", "C0"], "--symmetry C0 does not exist"),
        (["probe", "a", "--resume", "--overwrite"], "exclude each other"),
    ],
)
def test_wrong_words_give_one_line_and_code_2(probe, capsys, words, part):
    code, line = fails(capsys, *words)
    assert code == 2
    assert line.startswith("vitreous: error: ")
    assert part in f"{line}\n"
    assert not probe.seen


@pytest.mark.parametrize(
    ("failure", "code", "part"),
    [
        (InputError("no images", remedy="Check it", path="a.star"), 2, "a.star: no images. Check it."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "too little memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 2, "too little memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "no space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "x.mrc"), 2, "x.mrc: permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.mrc"), 2, "x.mrc: no such file"),
        (KeyError("a\nb"), 1, "unexpected KeyError"),
    ],
)
def test_failures_give_one_line(probe, capsys, failure, code, part):
    probe.failure = failure
    found, line = fails(capsys, "probe", "a")
    assert found == code
    assert part in line


def test_debug_shows_the_traceback(probe, capsys):
    probe.failure = ValueError("odd")
    assert main(["probe", "a", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_config_file_gives_values_and_flags_override(probe, tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("stack: b.star\ninner: {symmetry: D3}\ncommon: {threads: 2}\n")
    assert main(["probe", "--config", str(file), "--threads", "4"]) == 0
    command, _ = probe.seen[0]
    assert (command.stack, command.inner.symmetry, command.common.threads) == (Path("b.star"), "D3", 4)


def test_saved_config_gives_the_same_command(probe, tmp_path):
    import yaml

    assert main(["probe", "a.star", "--symmetry", "T", "--device", "cpu"]) == 0
    first, context = probe.seen[0]
    file = tmp_path / "manifest.yaml"
    file.write_text(yaml.safe_dump({"vitreous": "0.1.0", "name": "probe", "config": context.config}))
    assert main(["probe", "--config", str(file)]) == 0
    again, second = probe.seen[1]
    assert second.config == context.config
    assert again.inner == first.inner
    assert main(["group", "one", "--config", str(file)]) == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("inner: {symetry: C2}", "unknown option inner.symetry. Did you mean symmetry?"),
        ("stak: a", "Did you mean stack?"),
        ("stack: a\ncommon: {threads: many}", "option common.threads has the wrong type"),
        ("- a", "no options found"),
        ("a: [", "this is not YAML"),
        ("stack: a\ninner: {symmetry: C0}", "--symmetry C0 does not exist"),
        ("inner: {symmetry: C2}", "required option is missing: PATH"),
    ],
)
def test_wrong_config_files(probe, capsys, tmp_path, text, part):
    file = tmp_path / "options.yaml"
    file.write_text(text)
    code, line = fails(capsys, "probe", "--config", str(file))
    assert code == 2
    assert part in line


def test_missing_config_file(probe, capsys, tmp_path):
    code, line = fails(capsys, "probe", "--config", str(tmp_path / "none.yaml"))
    assert code == 2
    assert "none.yaml" in line


def test_unit_of_a_flag_may_be_left_out():
    from vitreous.cli.abinitio import AbInitio

    words = ["a.star", "--diameter", "120", "--diameter-a=120", "--pixel-size=2", "--symetry", "C2", "-o", "x"]
    expected = ["a.star", "--diameter-A", "120", "--diameter-A=120", "--pixel-size-A=2", "--symetry", "C2", "-o", "x"]
    assert with_units(words, AbInitio) == expected


@pytest.mark.parametrize("name", METHODS)
def test_every_method_loads(name):
    assert callable(get(name).run)


def test_unknown_method_is_a_config_error():
    with pytest.raises(ConfigError, match="Did you mean search"):
        get("serach")


def test_light_commands_have_no_machine_options():
    assert not hasattr(Basic(), "device")
