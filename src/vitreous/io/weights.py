"""Published weights of a network: one safetensors file with a card that says what they are and where they come from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor

from vitreous.errors import ConfigError, InputError
from vitreous.io.atomic import atomic_path
from vitreous.io.tensors import load_tensors
from vitreous.typing import PathLike

FORMAT_VERSION = 1
_CARD = "vitreous_weights"
_COPY_AGAIN = "Copy or download the file again"


@dataclass(frozen=True)
class WeightsCard:
    """What published weights are; the JSON text under ``vitreous_weights`` in the file's metadata.

    Attributes
    ----------
    name
        Under which they are known.
    architecture
        Everything that the network is built from, as JSON can hold it.
    licence
        Its SPDX identifier.
    training_data
        What they were trained on and what was left out.
    steps, images
        How long.
    hardware
        On what, and for how many minutes.
    figures
        What they reach, by the name of the measure.
    date
        ISO 8601.
    sha256
        Of names, types, shapes and bytes of the tensors; :func:`save_weights` fills it in.
    format_version
        Of card and file.
    """

    name: str
    architecture: Mapping[str, Any]
    licence: str
    training_data: str
    steps: int
    images: int
    hardware: str
    figures: Mapping[str, float | int | str]
    date: str
    sha256: str = ""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Weights:
    """Tensors by name, real ones in float32 on the CPU, and their card."""

    tensors: Mapping[str, Tensor]
    card: WeightsCard


def save_weights(
    path: PathLike,
    tensors: Mapping[str, Tensor],
    card: WeightsCard,
    *,
    dtype: Literal["float16", "float32"] = "float16",
    max_bytes: int = 25_000_000,
) -> WeightsCard:
    """Write weights, whole or not at all, and return the card with their sha256.

    Tensors of integers and booleans are kept as they are.

    Raises
    ------
    ConfigError
        Where the file would be larger than ``max_bytes``, or values are beyond ``dtype``.
    InputError
        Where values are not finite, or the card says nothing in a field or holds what JSON cannot.
    ResourceError
        Where the disk is full or refuses.
    """
    _refuse_non_finite(tensors, path)
    plain = {name: _plain(tensor, getattr(torch, dtype)) for name, tensor in tensors.items()}
    if any(not tensor.isfinite().all() for tensor in plain.values()):
        raise ConfigError(f"weights are beyond {dtype}", remedy="Save them as float32", path=path)
    card = replace(card, sha256=tensors_sha256(plain), format_version=FORMAT_VERSION)
    content = save(plain, {_CARD: _card_text(card, path)})
    if len(content) > max_bytes:
        raise ConfigError(
            "the weights are too large to be published",
            expected=f"at most {max_bytes} bytes",
            found=len(content),
            remedy="Use a smaller network, save them as float16, or raise max_bytes",
            path=path,
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return card


def load_weights(path: PathLike, *, expected_sha256: str | None = None) -> Weights:
    """Read and check weights that :func:`save_weights` wrote.

    Parameters
    ----------
    expected_sha256
        The card's ``sha256`` where it is known from elsewhere: other weights, though whole, are then refused.

    Raises
    ------
    InputError
        Where the file is missing, damaged, of an unknown version, without a card, or holds other or non-finite values.
    """
    tensors, metadata = load_tensors(path)
    card = _read_card(metadata.get(_CARD), path)
    found = tensors_sha256(tensors)
    if found != card.sha256:
        raise InputError(
            "the weights are damaged: wrong sha256", expected=card.sha256, found=found, remedy=_COPY_AGAIN, path=path
        )
    if expected_sha256 is not None and found != expected_sha256:
        raise InputError(
            f"these are other weights than asked for: {card.name} of {card.date}",
            expected=expected_sha256,
            found=found,
            remedy="Name the right file, or install the vitreous that these weights belong to",
            path=path,
        )
    _refuse_non_finite(tensors, path)
    return Weights({name: _plain(tensor, torch.float32) for name, tensor in tensors.items()}, card)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 over name, type, shape and little-endian bytes of every tensor, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{json.dumps(name)} {array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy of its own in the CPU's memory."""
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", wanted, copy=True).contiguous()


def _refuse_non_finite(tensors: Mapping[str, Tensor], path: PathLike) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(
                f"the tensor {name} holds values that are not finite",
                remedy="Training has diverged: take the weights of an earlier checkpoint",
                path=path,
            )


def _card_text(card: WeightsCard, path: PathLike) -> str:
    plain = asdict(card)
    empty = [name for name, value in plain.items() if isinstance(value, str) and not value.strip()]
    try:
        text = json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the card cannot be written as JSON: {error}",
            remedy="Keep to finite numbers, texts, lists and dicts",
            path=path,
        ) from error
    if empty:
        raise InputError(f"the card says nothing about {', '.join(empty)}", remedy="Fill it in", path=path)
    return text


def _read_card(text: str | None, path: PathLike) -> WeightsCard:
    if text is None:
        raise InputError(
            "the file has no card: it holds no published weights",
            remedy="Name the weights.safetensors of a training's folder, not its checkpoint or a shard",
            path=path,
        )
    try:
        plain = json.loads(text)
        version = plain["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("the card is damaged", remedy=_COPY_AGAIN, path=path) from error
    if version != FORMAT_VERSION:
        raise InputError(
            "this version of the format is unknown",
            expected=FORMAT_VERSION,
            found=version,
            remedy="Install the vitreous that these weights were made for, or a newer one",
            path=path,
        )
    if plain.keys() != {field.name for field in fields(WeightsCard)}:
        raise InputError("the card is damaged or not complete", remedy=_COPY_AGAIN, path=path)
    return WeightsCard(**plain)
