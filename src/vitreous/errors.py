"""Errors that say what was wrong, what was expected, what was found and what to do next."""

from pathlib import Path


class VitreousError(Exception):
    """Base of every error that a user can cause and mend.

    The message is one line: ``file: particle: what (expected …, found …). Remedy.``

    Parameters
    ----------
    what
        What was wrong, without a full stop.
    remedy
        What to do next, an imperative sentence.
    expected, found
        What the program wanted and what it got, where that helps.
    path
        The file that was being read or written.
    particle
        The id (``index@stack``) of the particle, where it is known.
    """

    def __init__(
        self,
        what: str,
        *,
        remedy: str,
        expected: object = None,
        found: object = None,
        path: str | Path | None = None,
        particle: str | None = None,
    ) -> None:
        where = "".join(f"{part}: " for part in (path, particle) if part is not None)
        details = [f"{word} {value}" for word, value in (("expected", expected), ("found", found)) if value is not None]
        middle = f" ({', '.join(details)})" if details else ""
        end = "" if remedy.endswith("?") else "."
        super().__init__(" ".join(f"{where}{what}{middle}. {remedy.rstrip('.')}{end}".split()))
        self.path = path
        self.particle = particle


class InputError(VitreousError):
    """A file or an array that the user brought cannot be used."""


class ConfigError(VitreousError):
    """An option or a combination of options cannot be used."""


class ResourceError(VitreousError):
    """The machine lacks memory, disk, permissions or a device."""


class ConvergenceError(VitreousError):
    """A computation ran but its result cannot be trusted."""
