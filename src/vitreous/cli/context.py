"""What a command gets beside its own options: the clock, the warnings, the device, the progress bar, the run folder."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vitreous.cli.options import Basic

if TYPE_CHECKING:
    from vitreous.compute.progress import Progress


@runtime_checkable
class Command(Protocol):
    """A frozen dataclass of options that can run."""

    @property
    def common(self) -> Basic:
        """The options that every command has."""
        ...

    def run(self, context: "RunContext") -> None:
        """Do the work; failures are raised."""
        ...


@dataclass(frozen=True)
class RunContext:
    """One call of a command.

    Attributes
    ----------
    name, words, config
        The command, its command line, every option as plain values.
    common
        The common options.
    warnings
        What the user must know, in plain words; they go into ``summary.json``.
    started
        ``time.monotonic()`` at the start.
    """

    name: str
    words: Sequence[str]
    config: dict[str, Any]
    common: Basic
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, name: str, words: Sequence[str], command: Command) -> "RunContext":
        """Begin a call."""
        from vitreous.cli.config_file import to_mapping

        return cls(name, tuple(words), to_mapping(command), command.common)

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the whole command line, the program's name first."""
        return ("vitreous", *self.name.split(), *self.words)

    def warn(self, text: str) -> None:
        """Note a warning once and, unless ``--quiet``, show it on stderr."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.say(f"warning: {text}")

    def say(self, text: str) -> None:
        """Show a line on stderr, unless ``--quiet``."""
        if not self.common.quiet:
            sys.stderr.write(f"vitreous: {text}\n")

    def progress(self) -> "Progress":
        """Return bars on stderr, or silence with ``--quiet`` and where stderr is no terminal."""
        from vitreous.compute.progress import make_progress

        return make_progress(quiet=self.common.quiet)
