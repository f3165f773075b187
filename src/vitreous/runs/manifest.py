"""What a run was: versions, machine, command, options and the fingerprints of its inputs."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from vitreous import __version__
from vitreous.compute.processor import processor_name
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.atomic import atomic_path

MANIFEST = "manifest.yaml"
_ENDS = 1 << 20
_WHOLE_FILE = 64 << 20
_LISTED_FILES = 32


@dataclass(frozen=True)
class InputFile:
    """Fingerprint of an input.

    Attributes
    ----------
    path
        Absolute path, or the common folder of many files.
    bytes, modified
        Size and time of the last change (ISO 8601, UTC); of many files the sum and the latest.
    sha256, hashed
        A digest and what it covers: ``"whole file"``, ``"size, first and last MiB"`` for image stacks and files above
        64 MiB, ``"names, sizes and times of N files"`` where there are many.
    """

    path: str
    bytes: int
    modified: str
    sha256: str
    hashed: str


@dataclass(frozen=True)
class Manifest:
    """What a run was; ``manifest.yaml`` of its folder.

    Attributes
    ----------
    name, command, config, seed
        Name of the command, the words of the command line, every option, the seed of the random numbers.
    inputs
        Fingerprints of the files that were read.
    notes
        What reading the inputs had to decide, in plain words.
    started
        ISO 8601, UTC.
    vitreous, commit, versions, machine
        Version of the package, the commit where it runs from a checkout, versions of python and of what it computes
        with, the computer.
    """

    name: str
    command: Sequence[str]
    config: Mapping[str, Any]
    seed: int | None = None
    inputs: Sequence[InputFile] = ()
    notes: Sequence[str] = ()
    started: str = field(default_factory=lambda: _iso(datetime.now(UTC).timestamp()))
    vitreous: str = __version__
    commit: str | None = field(default_factory=lambda: git_commit())
    versions: Mapping[str, str] = field(default_factory=lambda: library_versions())
    machine: Mapping[str, Any] = field(default_factory=lambda: describe_machine())

    def write(self, folder: Path) -> None:
        """Write ``manifest.yaml`` into a folder."""
        plain = asdict(self) | {"command": list(self.command), "notes": list(self.notes)}
        plain["inputs"] = [asdict(file) for file in self.inputs]
        with atomic_path(folder / MANIFEST) as temporary:
            temporary.write_text(
                yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8"
            )

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read ``manifest.yaml`` of a folder.

        Raises
        ------
        InputError
            Where there is none, or it was not written by vitreous.
        """
        path = folder / MANIFEST
        try:
            with reading(path):
                plain = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(**plain | {"inputs": tuple(InputFile(**file) for file in plain["inputs"])})
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                "this is not the manifest of a run", remedy="Name a folder made by vitreous", path=path
            ) from error


def fingerprint(path: Path, *, is_stack: bool = False) -> InputFile:
    """Return the fingerprint of one file; see :class:`InputFile` for what is hashed."""
    with reading(path), path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256()
        if is_stack or status.st_size > _WHOLE_FILE:
            digest.update(str(status.st_size).encode())
            digest.update(file.read(_ENDS))
            file.seek(max(0, status.st_size - _ENDS))
        for block in iter(lambda: file.read(_ENDS), b""):
            digest.update(block)
    whole = not is_stack and status.st_size <= _WHOLE_FILE
    hashed = "whole file" if whole else "size, first and last MiB"
    return InputFile(
        os.path.normpath(path.absolute()), status.st_size, _iso(status.st_mtime), digest.hexdigest(), hashed
    )


def fingerprint_stacks(paths: Iterable[Path]) -> list[InputFile]:
    """Return the fingerprints of image stacks, one for all of them where they are more than 32."""
    files = sorted({Path(os.path.normpath(path.absolute())) for path in paths})
    if len(files) <= _LISTED_FILES:
        return [fingerprint(path, is_stack=True) for path in files]
    digest, size, latest = hashlib.sha256(), 0, 0.0
    for path in files:
        with reading(path):
            status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        size, latest = size + status.st_size, max(latest, status.st_mtime)
    folder = os.path.commonpath(files)
    return [InputFile(folder, size, _iso(latest), digest.hexdigest(), f"names, sizes and times of {len(files)} files")]


def library_versions() -> dict[str, str]:
    """Return the versions of python and of the libraries that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "numba", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_machine() -> dict[str, Any]:
    """Return the computer's system, processor, cores and, where torch runs and sees them, GPUs."""
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    return {
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
    }


def git_commit() -> str | None:
    """Return the commit of the checkout that the package runs from, with ``-dirty`` where it was changed, or None."""
    source = Path(__file__).parents[3]
    if not (source / ".git").exists():
        return None
    words = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
