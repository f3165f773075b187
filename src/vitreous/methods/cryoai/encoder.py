"""The encoder: images to poses (section 3.3 and supplement B of the paper)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vitreous.geometry.rotations import rotation_from_axes
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.typing import Float, Images

FILTER_SIZE = 11
FILTER_CUTOFFS = (0.1, 10.0)
"""Lowest and highest cut-off of the Gaussian filters, in radians per pixel: the inverse of their σ in pixels."""

_FILTERS = 5
_GROWTH = (1, 2, 4, 16, 32)
_MOST_POOLS, _LEAST_SIDE = 6, 2
_HEAD_LAYERS = (512, 256)
_MLP_LAYERS = 3
_GROUPS = 8
_FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class PoseGuesses:
    """Several poses for each image.

    Attributes
    ----------
    rotations
        ``[b, h, 3, 3]``.
    shifts
        ``[b, h, 2]``, in units of the box side.
    """

    rotations: Float[Tensor, "b h 3 3"]
    shifts: Float[Tensor, "b h 2"]

    @property
    def count(self) -> int:
        """Poses of an image."""
        return int(self.rotations.shape[1])


def gaussian_filters(count: int = _FILTERS) -> Float[Tensor, "filters 1 y x"]:
    """Gaussian kernels of sum 1 on 11 × 11 pixels; their cut-offs 1/σ are spaced geometrically, the lowest first."""
    low, high = FILTER_CUTOFFS
    cutoffs = low * (high / low) ** torch.linspace(0, 1, count)
    place = torch.arange(FILTER_SIZE) - FILTER_SIZE // 2
    line = torch.exp(-((cutoffs[:, None] * place) ** 2) / 2)
    kernels = line[:, None, :] * line[:, :, None]
    return (kernels / kernels.sum((1, 2), keepdim=True))[:, None]


def filter_lines(box: int) -> Float[Tensor, "filters y y"]:
    """Return the filters along one axis as matrices: the kernels are outer products, beyond the image is 0."""
    lines = gaussian_filters()[:, 0].sum(1)
    offset = torch.arange(box) - torch.arange(box)[:, None] + FILTER_SIZE // 2
    return lines[:, offset.clamp(0, FILTER_SIZE - 1)] * ((offset >= 0) & (offset < FILTER_SIZE))


class PaddedConv(nn.Conv2d):
    """A 3 × 3 convolution that is one matrix product where images are 2 × 2 pixels: five of nine taps meet padding.

    Parameters
    ----------
    before, after
        Channels.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, padding=1)
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, input: Float[Tensor, "b c y x"]) -> Float[Tensor, "b d y x"]:  # noqa: A002  named as torch does
        """Convolve."""
        if input.shape[-2:] != (2, 2):
            return super().forward(input)
        flat, weight = input.movedim(1, -1).flatten(1), self.weight.movedim(1, -1)
        taps = (weight[:, 1 - y : 3 - y, 1 - x : 3 - x].flatten(1) for y, x in _FOUR)
        return torch.stack([nn.functional.linear(flat, some, self.bias) for some in taps], -1).unflatten(-1, (2, 2))


def pools_for(box: int) -> int:
    """How often images of ``box`` pixels are halved: six times, or as often as leaves two pixels."""
    return max(pools for pools in range(_MOST_POOLS + 1) if pools == 0 or box >> pools >= _LEAST_SIDE)


class DoubleConv(nn.Module):
    """Two 3 × 3 convolutions, each normalised over groups of channels and rectified, and a pooling by two or none.

    Parameters
    ----------
    before, after
        Channels.
    pooled
        Whether sides are halved.
    """

    def __init__(self, before: int, after: int, *, pooled: bool) -> None:
        super().__init__()
        groups = _GROUPS if after % _GROUPS == 0 else 1
        layers: list[nn.Module] = []
        for channels in (before, after):
            layers += [PaddedConv(channels, after), nn.GroupNorm(groups, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(2) if pooled else nn.Identity())

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b d v u"]:
        """Return features."""
        return self.layers(x)


class FilterBank(nn.Module):
    """Gaussian filters of an image, as channels.

    Parameters
    ----------
    box
        Side of the images.
    """

    lines: Tensor

    def __init__(self, box: int) -> None:
        super().__init__()
        self.register_buffer("lines", filter_lines(box), persistent=False)

    def forward(self, images: Images) -> Float[Tensor, "b filters y x"]:
        """Filter along both axes."""
        return self.lines @ images[:, None] @ self.lines.mT


class Encoder(nn.Module):
    """Features of an image, and two heads: two axes in the image plane, and a shift; each for several poses.

    Parameters
    ----------
    box
        Side of the images.
    config
        Kind and sizes of the features, heads, range of shifts.
    """

    def __init__(self, box: int, config: CryoAIConfig) -> None:
        super().__init__()
        self.heads, self.shift_range = config.heads, config.shift_range
        numbers = (6 * config.heads, 2 * config.heads)
        self.rotation_head: nn.Module
        self.shift_head: nn.Module
        if config.encoder == "mlp":
            width = config.encoder_width
            sizes = [box**2, *[width] * _MLP_LAYERS]
            layers = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
            self.features = nn.Sequential(nn.Flatten(), *layers)
            self.rotation_head, self.shift_head = (nn.Linear(width, each) for each in numbers)
        else:
            self.features = _convolutions(box, config.channels)
            length = config.channels * _GROWTH[-1] * (box >> pools_for(box)) ** 2
            self.rotation_head, self.shift_head = (_head(length, each) for each in numbers)

    def forward(self, images: Images) -> PoseGuesses:
        """Propose poses; shifts lie within the range by a hyperbolic tangent."""
        features = self.features(images)
        axes = self.rotation_head(features).float().reshape(-1, 2, 3)
        shifts = self.shift_head(features).float().unflatten(-1, (self.heads, 2))
        rotations = rotation_from_axes(axes[:, 0], axes[:, 1]).reshape(-1, self.heads, 3, 3)
        return PoseGuesses(rotations, self.shift_range * torch.tanh(shifts))


def _convolutions(box: int, channels: int) -> nn.Sequential:
    """Gaussian filters and five double convolutions (supplement B)."""
    pools, sizes = pools_for(box), [_FILTERS, *(channels * growth for growth in _GROWTH)]
    return nn.Sequential(
        FilterBank(box),
        *(DoubleConv(*sizes[i : i + 2], pooled=i < pools) for i in range(len(_GROWTH))),
        nn.MaxPool2d(2) if pools > len(_GROWTH) else nn.Identity(),
        nn.Flatten(),
    )


def _head(inputs: int, outputs: int) -> nn.Sequential:
    first, second = _HEAD_LAYERS
    return nn.Sequential(
        *(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, outputs))
    )
