"""Checkpoints: one safetensors file, whole or absent, that is refused by a run with other options or inputs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vitreous.errors import ConfigError, InputError
from vitreous.io.tensors import load_tensors, save_tensors
from vitreous.runs.manifest import InputFile

_PLACE_AND_SPEED = {
    *("config.output", "config.common.device", "config.common.threads", "config.common.processes", "config.devices"),
    *("config.reading.datadir", "config.minutes", "config.cryoai.minutes"),
}
"""Options that may change between a run and its continuation."""


@dataclass(frozen=True)
class Checkpointer:
    """Saves and loads the state of one run; methods and the training loop get it passed in.

    Attributes
    ----------
    path
        The file; it is replaced at every :meth:`save`.
    identity
        What a continuation must share with the run, see :func:`identity_of`.
    """

    path: Path
    identity: Mapping[str, Any]

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write a state, and make it the file only when it is complete.

        Parameters
        ----------
        tensors
            Parameters, maps, and the states of random generators (``generator.get_state()``), by name.
        values
            Everything else: whatever JSON can hold, exactly (floats keep all their digits).
        """
        header = {"values": json.dumps(dict(values)), "identity": json.dumps(dict(self.identity))}
        save_tensors(self.path, tensors, header)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors (on the CPU) and values of the last :meth:`save`, or None where there is none.

        Raises
        ------
        ConfigError
            Where the run had other options or inputs; the message names the first that differs.
        InputError
            Where the file is damaged or no checkpoint.
        """
        if not self.path.exists():
            return None
        tensors, values, identity = _read(self.path)
        refuse_other_run(identity, self.identity, self.path)
        return tensors, values


def load_any(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]] | None:
    """Return tensors, values and the identity of whatever run left a checkpoint, or None where there is none.

    Raises
    ------
    InputError
        Where the file is damaged or no checkpoint.
    """
    return _read(path) if path.exists() else None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    tensors, header = load_tensors(path)
    try:
        return tensors, json.loads(header["values"]), json.loads(header["identity"])
    except (KeyError, json.JSONDecodeError) as error:
        raise InputError("not a checkpoint", remedy="Start with --overwrite", path=path) from error


def refuse_other_run(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError that names the first key in which two identities differ."""
    for key in sorted(saved.keys() | now.keys()):
        if saved.get(key) != now.get(key):
            raise ConfigError(
                f"--resume: {key} differs from the run that is to go on",
                expected=saved.get(key),
                found=now.get(key),
                remedy="Use the same options and inputs, or start anew with --overwrite",
                path=path,
            )


def identity_of(config: Mapping[str, Any], inputs: Iterable[InputFile]) -> dict[str, Any]:
    """Flatten options and input digests to ``{"config.x.y": value, "input path": sha256}``.

    The output folder, the device, the numbers of threads and processes, where images lie and for how long to train
    are left out.
    """
    found = {key: value for key, value in _flatten(config, "config") if key not in _PLACE_AND_SPEED}
    return found | {f"input {file.path}": file.sha256 for file in inputs}


def changed_options(
    earlier: Mapping[str, Any], now: Mapping[str, Any], free: Iterable[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Return the options that both runs know and that differ, ``{"step.batch_views": (64, 128)}``.

    The output folder, the device, the numbers of threads and processes and options or groups of ``free`` are left out.
    """
    before, after = identity_of(earlier, ()), identity_of(now, ())
    left_out = tuple(f"config.{name}." for name in free)
    shared = [name for name in after if name in before and not f"{name}.".startswith(left_out)]
    differing = [name for name in shared if before[name] != after[name]]
    return {name.removeprefix("config."): (before[name], after[name]) for name in differing}


def _flatten(mapping: Mapping[str, Any], where: str) -> Iterable[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{where}.{key}")
        else:
            yield f"{where}.{key}", value
