"""Adam's two moments in two bytes per parameter, coded so that the next step changes by less than 1 %.

Adam moves a parameter by its rate times ``exp_avg / √exp_avg_sq``. Coding each moment by itself ruins that ratio where
the root is small beside its neighbours: an eight-bit linear root rounds it to 0, and the step is divided by 0. Coded
here are therefore the step itself, linearly, and the root on a logarithmic scale, in blocks of 256 neighbours as in
Dettmers et al. 2022, *8-bit optimizers via block-wise quantization* (arXiv:2110.02861).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int8, UInt8
from torch import Tensor, nn

from vitreous.errors import InputError
from vitreous.typing import Float

BLOCK = 256
_STEP_LEVELS = 127
_ROOT_LEVELS = 254


@dataclass(frozen=True)
class CodedMoments:
    """Both moments of one parameter, with the largest step U and root range [a, b] of every block of 256 elements.

    The step ``exp_avg / √exp_avg_sq`` comes back to within U/254, and the root ``√exp_avg_sq`` to within a factor
    (b/a)^(1/508): 1 % where the roots of a block span a factor of 150. A root of 0 stays 0, and takes ``exp_avg`` with
    it (Adam has that only where all squared gradients underflowed).

    Attributes
    ----------
    step
        Signed, in units of U/127; shape of the parameter.
    root
        0 for a root of 0, else 1 + the logarithm above ln a in units of ln(b/a)/254; shape of the parameter.
    scales
        U, ln a and ln b of every block; blocks run over the flattened parameter, the last may be short.
    """

    step: Int8[Tensor, "*shape"]
    root: UInt8[Tensor, "*shape"]
    scales: Float[Tensor, "blocks 3"]


def encode_moments(exp_avg: Float[Tensor, "*shape"], exp_avg_sq: Float[Tensor, "*shape"]) -> CodedMoments:
    """Code the moments of one parameter.

    Raises
    ------
    InputError
        Where a moment is not finite, or a second moment negative.
    """
    root = _blocks(exp_avg_sq).sqrt()
    used = root > 0
    step = torch.where(used, _blocks(exp_avg) / root, 0)
    largest = step.abs().amax(1, keepdim=True)
    logarithm = root.log()
    high = logarithm.amax(1, keepdim=True)
    low = torch.where(used, logarithm, torch.inf).amin(1, keepdim=True)
    all_zero = ~used.any(1, keepdim=True)
    scales = torch.cat([largest, *(torch.where(all_zero, 0, end) for end in (low, high))], dim=1)
    if (exp_avg_sq < 0).any() or not all(values.isfinite().all() for values in (exp_avg, exp_avg_sq, scales)):
        raise InputError(
            "the optimiser's moments are not finite, or the second is negative",
            remedy="Training has diverged: go back to an earlier checkpoint, or leave the moments out (moments='none')",
        )
    step_code = (step / _or_one(largest) * _STEP_LEVELS).round()
    root_code = 1 + ((logarithm - low) / _or_one(high - low) * _ROOT_LEVELS).round()
    shape = exp_avg.shape
    return CodedMoments(
        _unblock(step_code.to(torch.int8), shape),
        _unblock(torch.where(used, root_code, 0).to(torch.uint8), shape),
        scales,
    )


def decode_moments(coded: CodedMoments) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return ``exp_avg`` and ``exp_avg_sq``."""
    largest, low, high = torch.hsplit(coded.scales, 3)
    code = _blocks(coded.root)
    logarithm = low + (code.float() - 1) / _ROOT_LEVELS * (high - low)
    root = torch.where(code > 0, logarithm.exp(), 0)
    exp_avg = _blocks(coded.step).float() / _STEP_LEVELS * largest * root
    shape = coded.step.shape
    return _unblock(exp_avg, shape), _unblock(root.square(), shape)


def _blocks(values: Tensor) -> Tensor:
    flat = values.detach().flatten()
    return nn.functional.pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)


def _unblock(blocks: Tensor, shape: torch.Size) -> Tensor:
    return blocks.flatten()[: shape.numel()].reshape(shape).clone()


def _or_one(divisor: Tensor) -> Tensor:
    return torch.where(divisor > 0, divisor, 1)
