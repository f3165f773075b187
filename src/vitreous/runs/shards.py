"""A training state in a folder of small files that can be carried to another machine, and back."""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from vitreous.errors import ConfigError, InputError
from vitreous.io.access import reading, write_refused
from vitreous.io.atomic import atomic_path
from vitreous.runs.compact import AveragePrecision, MomentsPrecision, compact_tensors, compact_values, restore_tensors
from vitreous.typing import PathLike

INDEX = "index.json"
FORMAT = "vitreous training state"
VERSION = 1
_FRAME, _ENTRY = 16, 120
"""Bytes that a safetensors file needs besides its data, and at most so many per tensor besides its name."""


@dataclass(frozen=True)
class ShardOptions:
    """How a state is made to fit.

    A parameter takes 4 bytes and is never rounded; its running average takes 4 or 2, Adam's moments 2.05, 8 or 0. In
    60 MiB there is room for 6.2 million parameters by default, 7.8 million with the average as bfloat16, 10.4 million
    without the moments too.
    """

    moments: MomentsPrecision = "8bit"
    """Adam's moments: coded (see :mod:`vitreous.runs.moments`), exact, or left out; the optimiser then starts anew."""
    average: AveragePrecision = "float32"
    """The running average of the parameters."""
    max_shard_bytes: int = 15 * 2**20
    """Largest size of one file."""
    max_total_bytes: int = 60 * 2**20
    """Largest size of the folder."""


SMALLER_AND_SMALLER = (ShardOptions(), ShardOptions(average="bfloat16"), ShardOptions("none", "bfloat16"))
"""What an export without options tries in turn."""

_LEAST_BYTES = 6
"""Of a parameter and its average."""


def refuse_export(folder: PathLike, parameters: int, run: PathLike | None = None) -> None:
    """Refuse early what :func:`export_shards` without options would refuse; ``run`` is a folder still to be made.

    Raises
    ------
    ConfigError
        Where a network of so many parameters does not fit.
    InputError
        Where the folder holds anything but an earlier export, or the folder above it does not exist.
    """
    path = Path(folder).absolute()
    if run is not None and path == Path(run).absolute():
        raise InputError("shards need a folder of their own", remedy="Name another one, or one inside it", path=path)
    _refuse_other(path)
    if not path.parent.is_dir() and (run is None or path.parent != Path(run).absolute()):
        raise InputError("there is no such folder", remedy="Make it, or name another one", path=path.parent)
    if _LEAST_BYTES * parameters > SMALLER_AND_SMALLER[-1].max_total_bytes:
        raise _too_large(_LEAST_BYTES * parameters, SMALLER_AND_SMALLER[-1])


def export_shards(
    folder: PathLike, tensors: Mapping[str, Tensor], values: Mapping[str, Any], options: ShardOptions | None = None
) -> int:
    """Write a state, as :meth:`vitreous.train.state.TrainState.pack` gives it, and return its size in bytes.

    Without options the first of :data:`SMALLER_AND_SMALLER` is taken that fits.

    The folder appears when it is complete; an earlier export of that name is replaced. It holds safetensors files and
    ``index.json``: the format's name and version, the sha256 of every file, the shape and type of every tensor with
    the files that its flattened pieces are in, and the values. Without moments the values tell at
    ``optimizer_restarted_at_step`` where the optimiser starts anew: its first steps are the full learning rate in
    every parameter, so that a warm-up must follow.

    Raises
    ------
    ConfigError
        Where the state does not fit the limits or the precision.
    InputError
        Where the folder holds anything but an earlier export, or the moments are not finite.
    ResourceError
        Where the disk is full or refuses.
    """
    for tried in SMALLER_AND_SMALLER if options is None else (options,):
        files = _files(tensors, values, tried)
        size = sum(len(content) for content in files.values())
        if size <= tried.max_total_bytes:
            break
    else:
        raise _too_large(size, tried)
    with _atomic_folder(Path(folder).absolute()) as temporary:
        for name, content in files.items():
            with atomic_path(temporary / name) as path:
                path.write_bytes(content)
    return size


def _files(tensors: Mapping[str, Tensor], values: Mapping[str, Any], options: ShardOptions) -> dict[str, bytes]:
    """Return the content of every file by name."""
    stored = compact_tensors(tensors, options.moments, options.average)
    shards = _cut(stored, options.max_shard_bytes)
    files = {f"shard-{number:03d}.safetensors": save(pieces) for number, pieces in enumerate(shards, start=1)}
    index = {
        "format": FORMAT,
        "version": VERSION,
        "shards": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "tensors": {name: _described(tensors.get(name, stored[name]), name, shards) for name in stored},
        "values": compact_values(values, options.moments),
    }
    return files | {INDEX: json.dumps(index, indent=1).encode()}


def import_shards(folder: PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and values of :func:`export_shards`, ready for ``Checkpointer.save``; moments are decoded.

    Raises
    ------
    InputError
        Where the folder is no export, of another version, incomplete or damaged.
    """
    path = Path(folder) / INDEX
    index = _read_index(path)
    try:
        shards = [_read_shard(path.with_name(name), digest) for name, digest in index["shards"].items()]
        stored = {name: _join(name, entry, shards) for name, entry in index["tensors"].items()}
        return restore_tensors(stored), index["values"]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError("the index is damaged", remedy="Copy or export the folder again", path=path) from error


def _described(tensor: Tensor, name: str, shards: list[dict[str, Tensor]]) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shards": [number for number, pieces in enumerate(shards) if name in pieces],
    }


def _cut(stored: Mapping[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    """Fill one shard after the other with flattened pieces of the tensors."""
    shards, room = [dict[str, Tensor]()], max_bytes - _FRAME
    for name, tensor in stored.items():
        flat, frame, size = tensor.detach().cpu().flatten(), _ENTRY + len(json.dumps(name)), tensor.element_size()
        start = 0
        while name not in shards[-1] or start < len(flat):
            if room < frame + size:
                if not shards[-1]:
                    raise ConfigError(f"no tensor fits in {max_bytes} bytes", remedy="Raise max_shard_bytes")
                shards, room = [*shards, {}], max_bytes - _FRAME
                continue
            piece = flat[start : start + (room - frame) // size].clone()
            shards[-1][name] = piece
            start, room = start + len(piece), room - frame - piece.nbytes
    return shards


def _too_large(size: int, options: ShardOptions) -> ConfigError:
    ways = ["raise max_total_bytes"]
    if options.average == "float32":
        ways.append("keep the average as bfloat16")
    if options.moments != "none":
        ways.append("leave the moments out (moments='none')")
    if len(ways) == 1:
        ways.append("use a smaller network")
    return ConfigError(
        "the training state is too large",
        expected=f"at most {options.max_total_bytes / 2**20:.1f} MiB",
        found=f"{size / 2**20:.1f} MiB",
        remedy=" or ".join(reversed(ways)).capitalize(),
    )


def _read_index(path: Path) -> dict[str, Any]:
    try:
        with reading(path):
            index = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError("the index is damaged", remedy="Copy or export the folder again", path=path) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise InputError("not an exported training state", remedy="Name a folder that an export made", path=path)
    if index.get("version") != VERSION:
        raise InputError(
            "this version of the format is unknown",
            expected=VERSION,
            found=index.get("version"),
            remedy="Import it with the vitreous that exported it, or a newer one",
            path=path,
        )
    return index


def _read_shard(path: Path, digest: str) -> dict[str, Tensor]:
    if not path.exists():
        raise InputError("a shard is missing", remedy="Copy all files that the index names", path=path)
    with reading(path):
        content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise InputError(
            "the shard is damaged: wrong sha256", expected=digest, found=found, remedy="Copy it again", path=path
        )
    return load(content)


def _join(name: str, entry: Mapping[str, Any], shards: list[dict[str, Tensor]]) -> Tensor:
    pieces = [shards[number][name] for number in entry["shards"]]
    return torch.cat(pieces).reshape(entry["shape"]).to(getattr(torch, entry["dtype"]))


@contextmanager
def _atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder that takes the target's place when the block ends well, and is removed when it raises.

    A machine that stops between moving an earlier export away and the new one in leaves both under hidden names.
    """
    _refuse_other(target)
    tag = f".{target.name}.{secrets.token_hex(4)}"
    temporary, earlier = target.with_name(f"{tag}.partial"), target.with_name(f"{tag}.old")
    try:
        temporary.mkdir()
        yield temporary
        if target.exists():
            target.replace(earlier)
        temporary.replace(target)
    except OSError as error:
        if earlier.exists():
            earlier.replace(target)
        raise write_refused(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)


def _refuse_other(target: Path) -> None:
    if target.exists() and not (target.is_dir() and ((target / INDEX).exists() or not any(target.iterdir()))):
        raise InputError("this is no earlier export", remedy="Name a new folder", path=target)
