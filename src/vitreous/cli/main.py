"""The ``vitreous`` program: find the command, parse its options, run it."""

import io
import sys
from collections.abc import Sequence
from typing import Any

from vitreous import __version__
from vitreous.cli.failures import run_guarded
from vitreous.cli.registry import COMMANDS, find, overview
from vitreous.compute.allocator import keep_freed_memory


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (``sys.argv`` when not given) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Å or · must not end a run
    return run_guarded(lambda: dispatch(words), debug="--debug" in words)


def dispatch(words: list[str]) -> None:
    """Run a command line; failures are raised."""
    if words[:1] == ["--version"]:
        sys.stdout.write(f"vitreous {__version__}\n")
        return
    if not words or words[0] in {"-h", "--help"}:
        sys.stdout.write(f"vitreous {__version__}: from cryo-EM particle images to maps, poses and motions\n\n")
        sys.stdout.write(overview())
        return
    is_group = any(name.startswith(f"{words[0]} ") for name in COMMANDS)
    if is_group and words[1:] in ([], ["-h"], ["--help"]):
        sys.stdout.write(overview(words[0]))
        return
    run_command(*find(words))


def run_command(name: str, words: list[str]) -> None:
    """Parse a command's options and run it, in several processes where they or a launcher ask for it."""
    from vitreous.cli import processes
    from vitreous.cli.context import RunContext

    command = read_command(name, words)
    asked = getattr(command.common, "processes", 1)
    if processes.needed(name, asked):
        processes.run_shared(name, words, asked)
    else:
        command.run(RunContext.start(name, words, command))


def read_command(name: str, words: list[str]) -> Any:
    """Parse a command's options, ready to run."""
    from vitreous.cli.config_file import read_defaults
    from vitreous.cli.parsing import parse, with_units

    command_class = COMMANDS[name].load()
    words = with_units(words, command_class)
    default = read_defaults(command_class, words, name)
    command = parse(command_class, words, name, default)
    keep_freed_memory()
    return command
