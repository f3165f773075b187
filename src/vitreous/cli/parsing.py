"""From words to a command: tyro parses, and whatever it refuses becomes one line."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields, is_dataclass
from itertools import takewhile
from typing import Any, TypeVar, get_args, get_type_hints

import docstring_parser
import tyro

from vitreous.cli.registry import did_you_mean
from vitreous.errors import ConfigError

C = TypeVar("C")
"""A command class."""

_NO_PREFIX = get_args(tyro.conf.OmitArgPrefixes[int])[1]
"""What marks a nested dataclass whose flags have no prefix."""

_UNIT = re.compile(r"-(A|A2|deg|px|kV|mm|dB)$")


def parse(command: type[C], words: list[str], name: str, default: C | None = None) -> C:
    """Return the command that the words describe.

    Parameters
    ----------
    command
        A frozen dataclass; field docstrings are the help text.
    words
        The command line after the command's name.
    name
        The command's name, for messages.
    default
        Values to start from instead of the class's own.

    Raises
    ------
    ConfigError
        For words that do not fit. ``--help`` raises SystemExit(0).
    """
    refusal = io.StringIO()
    help_command = f"vitreous {name} --help"
    options: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with redirect_stderr(refusal), _flowing_docstrings():
            made, unknown = tyro.cli(
                command,
                prog=f"vitreous {name}",
                args=words,
                return_unknown_args=True,
                config=(tyro.conf.FlagCreatePairsOff,),
                **options,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(_one_line(refusal.getvalue()), remedy=f"Run {help_command}") from None
    if unknown:
        remedy = did_you_mean(unknown[0].split("=")[0], flags(command), f"Run {help_command}")
        raise ConfigError(f"vitreous {name} has no option or place for {unknown[0]!r}", remedy=remedy)
    return made


@contextmanager
def _flowing_docstrings() -> Iterator[None]:
    """Hide the indentation of field docstrings from tyro, which would break the help wherever the source does."""
    parse_indented = docstring_parser.parse_from_object

    def parse_flowing(
        obj: Any, style: docstring_parser.DocstringStyle = docstring_parser.DocstringStyle.AUTO
    ) -> docstring_parser.Docstring:
        parsed = parse_indented(obj, style)
        for field in parsed.params:
            field.description = field.description and " ".join(field.description.split())
        return parsed

    docstring_parser.parse_from_object = parse_flowing
    try:
        yield
    finally:
        docstring_parser.parse_from_object = parse_indented


def flags(command: Any) -> list[str]:
    """List the flags of a command, those of its nested dataclasses included, with the prefixes that these have."""
    hints = get_type_hints(command, include_extras=True)
    found = []
    for field in fields(command):
        nested, name = _nested(hints[field.name]), field.name.replace("_", "-")
        prefix = "" if _NO_PREFIX in get_args(hints[field.name]) else f"{name}."
        found += [f"--{name}"] if nested is None else [f"--{prefix}{flag[2:]}" for flag in flags(nested)]
    return found


def with_units(words: list[str], command: Any) -> list[str]:
    """Complete flags whose unit was left out, ``--diameter`` for ``--diameter-A``, where only one flag is meant."""
    known = flags(command)
    return [_with_unit(word, known) for word in words]


def _with_unit(word: str, known: list[str]) -> str:
    flag, equals, value = word.partition("=")
    if not flag.startswith("--") or flag in known:
        return word
    meant = [f for f in known if f.lower() == flag.lower() or _UNIT.sub("", f) == flag]
    return f"{meant[0]}{equals}{value}" if len(meant) == 1 else word


def _nested(hint: Any) -> Any:
    """Return the dataclass that a field's type is or wraps, or None."""
    return next((t for t in (hint, *get_args(hint)) if isinstance(t, type) and is_dataclass(t)), None)


def _one_line(boxed: str) -> str:
    """Take the message out of tyro's box: its first paragraph, without title, frame, colours and full stop."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", boxed)
    rows = [row.strip(" │").strip() for row in plain.splitlines()[1:]]
    if rows and set(rows[0]) == {"-"}:  # the line below the title, where the terminal has no box characters
        rows.pop(0)
    paragraph = takewhile(lambda row: row and not set(row) <= set("─-╰╯"), rows)
    text = " ".join(paragraph).removeprefix("Error parsing ").rstrip(".")
    missing = re.fullmatch(r"Missing from [^:]*: (.*)", text)
    return f"a required option is missing: {missing[1]}" if missing else text or "the options cannot be read"
