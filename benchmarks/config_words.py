"""Settings of a method from words of a command line, each ``name=value``."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import yaml

Config = TypeVar("Config")


def config_of(kind: type[Config], words: Sequence[str]) -> Config:
    """Make settings of a kind, a dataclass, with the fields that the words name; values are read as YAML."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    settings: dict[str, Any] = {name: yaml.safe_load(value) for name, value in (word.split("=", 1) for word in words)}
    assert settings.keys() <= known, settings
    return kind(**settings)
