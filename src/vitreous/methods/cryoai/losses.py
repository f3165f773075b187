"""Which poses of an image compete, and the loss of the best of them (section 3.5 and supplement D of the paper).

Turning an image by half a turn about the centre of its box conjugates its coefficients and leaves its CTF: the loss of
the turned image with pose ``(R', t')`` is that of the image itself with ``(Z R', −t')``, ``Z = diag(−1, −1, 1)``. All
poses that compete are therefore poses of the same image, and equation 10 is a minimum over them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vitreous.geometry.rotations import MIRROR
from vitreous.methods.cryoai.config import LossKind
from vitreous.methods.cryoai.encoder import PoseGuesses
from vitreous.typing import Complex, Float, Images


def turned_by_half(images: Images) -> Images:
    """Images turned by half a turn about pixel ``n // 2``; the first row and column of an even box meet themselves."""
    flipped = images.flip((-2, -1))
    return flipped if images.shape[-1] % 2 else flipped.roll((1, 1), (-2, -1))


def turned_back(guesses: PoseGuesses) -> PoseGuesses:
    """Poses of the images whose copies, turned by half a turn, have the given ones."""
    half_turn = guesses.rotations.new_tensor([-1.0, -1.0, 1.0])[:, None]
    return PoseGuesses(half_turn * guesses.rotations, -guesses.shifts)


def mirrored(guesses: PoseGuesses) -> PoseGuesses:
    """Poses ``J R J`` that give the same images of a map that is its own mirror image about z (equation 5)."""
    signs = MIRROR.diagonal().to(guesses.rotations)
    return PoseGuesses(signs[:, None] * guesses.rotations * signs, guesses.shifts)


def competing_poses(encode: Callable[[Images], PoseGuesses], images: Images, loss: LossKind) -> PoseGuesses:
    """Poses among which the loss takes the best, ``[b, h]``: all heads, times one, two or four."""
    if loss == "l2":
        return encode(images)
    both = encode(torch.cat([images, turned_by_half(images)]))
    direct, turned = (
        PoseGuesses(rotations, shifts) for rotations, shifts in zip(both.rotations.chunk(2), both.shifts.chunk(2))
    )
    found = joined(direct, turned_back(turned))
    return joined(found, mirrored(found)) if loss == "mirrored" else found


def joined(first: PoseGuesses, second: PoseGuesses) -> PoseGuesses:
    """All poses of both."""
    return PoseGuesses(torch.cat([first.rotations, second.rotations], 1), torch.cat([first.shifts, second.shifts], 1))


def chosen(guesses: PoseGuesses, which: Tensor) -> PoseGuesses:
    """One pose of each image, ``which`` ``[b]``."""
    rows = torch.arange(len(which), device=which.device)
    return PoseGuesses(guesses.rotations[rows, which][:, None], guesses.shifts[rows, which][:, None])


def squared_residuals(predicted: Complex[Tensor, "b h k"], observed: Complex[Tensor, "b k"]) -> Float[Tensor, "b h"]:
    """Mean ``|ΔF|²`` over one of every Friedel pair, of every pose."""
    return torch.view_as_real(predicted - observed[:, None]).square().sum(-1).mean(-1)
