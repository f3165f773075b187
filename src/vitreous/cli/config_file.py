"""Options in YAML: a saved configuration is read back as the starting values of a command."""

import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from vitreous.cli.options import NOT_SETTINGS
from vitreous.cli.registry import did_you_mean
from vitreous.errors import ConfigError

C = TypeVar("C")
"""A command class."""


def config_given(words: list[str]) -> Path | None:
    """Return the file after ``--config``, or None."""
    for word, following in zip(words, [*words[1:], ""]):
        if word == "--config" and following:
            return Path(following)
        if word.startswith("--config="):
            return Path(word.removeprefix("--config="))
    return None


def read_defaults(command: type[C], words: list[str], name: str) -> C | None:
    """Return the command that ``--config FILE`` describes, or None without that flag.

    FILE is a mapping of options or the manifest of a run of the same command. Options that it does not name keep
    their defaults, and required ones stay required.

    Raises
    ------
    ConfigError
        For a file that cannot be read, is not YAML, belongs to another command, or names unknown options.
    """
    path = config_given(words)
    if path is None:
        return None
    found = _read_mapping(path)
    if "vitreous" in found and isinstance(found.get("config"), Mapping):
        if found.get("name") != name:
            raise ConfigError(
                "this is the manifest of another command",
                expected=name,
                found=found.get("name"),
                remedy="Give the manifest of a run of the same command",
                path=path,
            )
        found = found["config"]
    return _fill(command, found, path, "")


def read_group(target: type[C], values: Mapping[str, Any], path: Path) -> C:
    """Return the group of options that a manifest at ``path`` holds as ``values``.

    Raises
    ------
    ConfigError
        Where it names unknown options, or values of the wrong type.
    """
    return _fill(target, values, path, "")


def to_mapping(command: Any) -> dict[str, Any]:
    """Return a command's options as plain values for YAML, without the switches of a single call.

    Files that exist get their absolute path, so that the same file by another path is the same option.
    """
    return {f.name: _plain(getattr(command, f.name)) for f in fields(command) if f.name not in NOT_SETTINGS}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Path):
        return os.path.normpath(value.absolute()) if value.exists() else str(value)
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def _read_mapping(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError("this is not text in UTF-8", remedy="Mend or replace the file", path=path) from error
    except OSError as error:
        raise ConfigError("the file of --config cannot be read", remedy="Check the path", path=path) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not YAML: {error}", remedy="Mend or replace the file", path=path) from error
    if not isinstance(found, Mapping):
        raise ConfigError("no options found", expected="lines 'name: value'", remedy="Mend the file", path=path)
    return found


def _fill(target: type[C], values: Mapping[str, Any], path: Path, where: str) -> C:
    """Make an instance without running its checks: those run when the command line is laid over it."""
    names = [f.name for f in fields(target)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise ConfigError(
                f"unknown option {where}{key}",
                remedy=did_you_mean(str(key), names, f"Options here are {', '.join(names)}"),
                path=path,
            )
    hints = get_type_hints(target, include_extras=True)
    made = object.__new__(target)
    for field in fields(target):  # type: ignore[arg-type]
        if field.name in values:
            value = _convert(values[field.name], hints[field.name], path, f"{where}{field.name}")
        elif field.default is not MISSING:
            value = field.default
        else:
            value = field.default_factory() if field.default_factory is not MISSING else tyro.MISSING
        object.__setattr__(made, field.name, value)
    return made


def _convert(value: Any, hint: Any, path: Path, where: str) -> Any:
    """Return a YAML value as the type that a field wants."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _convert(value, args[0], path, where)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _fill(hint, value, path, f"{where}.")  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        for choice in args:
            try:
                return _convert(value, choice, path, where)
            except ConfigError:
                continue
    elif origin in (tuple, Sequence) and isinstance(value, list):
        kinds = args if origin is tuple and args[-1] is not Ellipsis else [args[0]] * len(value)
        if len(kinds) == len(value):
            return tuple(_convert(v, kind, path, where) for v, kind in zip(value, kinds))
    elif origin is Literal and value in args:
        return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ConfigError(
        f"option {where} has the wrong type", expected=expected, found=repr(value), remedy="Mend the file", path=path
    )
