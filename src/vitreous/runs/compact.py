"""A training state with fewer bytes: the running average rounded, Adam's moments coded or left out."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.runs.moments import CodedMoments, decode_moments, encode_moments

MomentsPrecision = Literal["8bit", "float32", "none"]
AveragePrecision = Literal["float32", "bfloat16", "float16"]

RESTARTED = "optimizer_restarted_at_step"
"""Key of the values that names the step from which the learning rate must be warmed up, where moments were left out."""

_OPTIMIZER, _AVERAGE = "optimizer.", "average."
_FIRST, _SECOND = ".exp_avg", ".exp_avg_sq"
_CODED = (".moments.step", ".moments.root", ".moments.scales")


def compact_tensors(
    tensors: Mapping[str, Tensor], moments: MomentsPrecision, average: AveragePrecision
) -> dict[str, Tensor]:
    """Return what is stored of a state: coded moments under names of their own, all else under its name.

    Raises
    ------
    ConfigError
        Where the average holds values beyond its precision.
    InputError
        Where a moment is not finite.
    """
    stored = dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith(_AVERAGE) and tensor.dtype == torch.float32:
            stored[name] = _rounded(name, tensor, average)
        elif name.startswith(_OPTIMIZER) and moments == "none":
            del stored[name]
        elif name.startswith(_OPTIMIZER) and moments == "8bit" and name.endswith(_FIRST):
            base = name.removesuffix(_FIRST)
            second = tensors.get(base + _SECOND)
            if second is not None and tensor.dtype == second.dtype == torch.float32:
                coded = encode_moments(tensor, second)
                del stored[name], stored[base + _SECOND]
                parts = (coded.step, coded.root, coded.scales)
                stored |= {base + ending: part for ending, part in zip(_CODED, parts, strict=True)}
    return stored


def compact_values(values: Mapping[str, Any], moments: MomentsPrecision) -> dict[str, Any]:
    """Return a state's values, without the optimizer's and with the step under :data:`RESTARTED` if that starts anew.

    Adam's first steps are the full learning rate in every parameter; a warm-up must follow.
    """
    if moments != "none" or "optimizer" not in values:
        return dict(values)
    return {**values, "optimizer": {**values["optimizer"], "state": {}}, RESTARTED: values.get("step", 0)}


def restore_tensors(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Decode the moments of :func:`compact_tensors`."""
    tensors = dict(stored)
    for base in [name.removesuffix(_CODED[0]) for name in stored if name.endswith(_CODED[0])]:
        coded = CodedMoments(*(tensors.pop(base + ending) for ending in _CODED))
        tensors[base + _FIRST], tensors[base + _SECOND] = decode_moments(coded)
    return tensors


def _rounded(name: str, tensor: Tensor, precision: AveragePrecision) -> Tensor:
    rounded = tensor.to(getattr(torch, precision))
    if not torch.equal(rounded.isfinite(), tensor.isfinite()):
        raise ConfigError(f"{name} holds values beyond {precision}", remedy="Keep the average as bfloat16 or float32")
    return rounded
