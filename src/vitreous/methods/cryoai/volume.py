"""Maps in Fourier space that can be learned: all give slices, and the whole transform on a grid.

The networks are asked for points of one half space only; the others are complex conjugates of these, because maps are
real (equation 7 of the paper, with a plane that no grid point but the origin lies on).
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from vitreous.data import Volume
from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import irfft3_centred
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.nn.positional import PositionalEncoding
from vitreous.nn.siren import Siren
from vitreous.physics.slices import FourierVolume, gridding_window
from vitreous.typing import Complex, Float, Int, Map, Rotations

_POINTS_AT_ONCE = 16_384
_SMALL = 1e-3

_HALF_SPACE = (1.0, math.pi / 1000, math.e / 100)
"""Normal of the plane between the half spaces: nearly x."""

_SIREN_HIDDEN, _MLP_HIDDEN = 5, 4
"""Layers that give a SIREN and an MLP about as many parameters as a FourierNet of the same width has."""


class LearnedVolume(nn.Module, ABC):
    """A map's transform, as unitary coefficients of its projections."""

    points_at_once = 1 << 19
    """At how many points a processor should ask for it: features of a network's layer had better stay in its cache."""

    @abstractmethod
    def forward(self, rotations: Rotations, kxy: Float[Tensor, "k 2"]) -> Complex[Tensor, "n k"]:
        """Slices: coefficients at the points ``R[n]ᵀ(kx, ky, 0)``, in Fourier pixels of the box."""

    @abstractmethod
    def values(self) -> Map:
        """Return the map whose projections have these coefficients times the box."""


def make_volume(box: int, config: CryoAIConfig, amplitude: Float[Tensor, " shells"] | None = None) -> LearnedVolume:
    """Make what ``config.volume`` names, for images of an even ``box``, in units of ``amplitude`` in every shell."""
    if config.volume == "voxels":
        return VoxelVolume(box, amplitude)
    return ImplicitVolume(box, _network(box, config), amplitude)


def _network(box: int, config: CryoAIConfig) -> nn.Module:
    if config.volume == "fouriernet":
        return FourierNet(config.width, config.omega)
    if config.volume == "siren":
        return Siren(3, 2, width=config.width, hidden=_SIREN_HIDDEN, omega=config.omega)
    return EncodedMLP(box, config.width)


class FourierNet(nn.Module):
    """``exp(A(k)) ⊙ B(k)`` of two SIRENs, A with two hidden layers and B with three (section 3.4, supplement C.3).

    Parameters
    ----------
    width
        Features; with 256 the weights are the paper's 330,240, beside 1,796 biases.
    omega
        See :class:`~vitreous.nn.siren.Siren`.
    """

    def __init__(self, width: int = 256, omega: float = 30.0) -> None:
        super().__init__()
        self.exponent = Siren(3, 2, width=width, hidden=2, omega=omega)
        self.factor = Siren(3, 2, width=width, hidden=3, omega=omega)

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 2"]:
        """Real and imaginary part at points that are 1 at half a box."""
        return self.exponent(points).exp() * self.factor(points)


class EncodedMLP(nn.Module):
    """ReLU layers behind a positional encoding.

    Parameters
    ----------
    box
        Side of the images in pixels.
    width
        Features of a layer.
    """

    def __init__(self, box: int, width: int) -> None:
        super().__init__()
        self.encoding = PositionalEncoding(box)
        sizes = [self.encoding.features, *[width] * (_MLP_HIDDEN + 1)]
        layers = [part for sides in pairwise(sizes) for part in (nn.Linear(*sides), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 2"]:
        """Real and imaginary part at points that are 1 at half a box."""
        return self.layers(self.encoding(points / 2 @ self.encoding.vectors.T))


class ImplicitVolume(LearnedVolume):
    """A network of a point of Fourier space, whose map is real by construction.

    Parameters
    ----------
    box
        Side of the images in pixels.
    network
        From points ``[…, 3]``, 1 at half a box, to real and imaginary part.
    amplitude
        Unit of what it gives in every shell, between which it is interpolated; 1 by default.
    """

    unit: Tensor
    points_at_once = _POINTS_AT_ONCE

    def __init__(self, box: int, network: nn.Module, amplitude: Float[Tensor, " shells"] | None = None) -> None:
        super().__init__()
        self.box, self.network = box, network
        self.register_buffer("unit", torch.ones(box // 2 + 1) if amplitude is None else amplitude)

    def forward(self, rotations: Rotations, kxy: Float[Tensor, "k 2"]) -> Complex[Tensor, "n k"]:
        """Slices: the point ``Rᵀ(kx, ky, 0)`` is the row vector ``(kx, ky) @ R[:2]``."""
        with torch.autocast(kxy.device.type, enabled=False):
            return self.at(kxy @ rotations[:, :2].float())

    def at(self, points: Float[Tensor, "*n 3"]) -> Complex[Tensor, "*n"]:
        """Coefficients at points in Fourier pixels."""
        side = torch.sign(points @ points.new_tensor(_HALF_SPACE))
        real, imaginary = self.network(points * side[..., None] / (self.box / 2)).unbind(-1)
        unit = self._unit_at(points)
        return torch.complex(real * unit, imaginary * side * unit)

    def _unit_at(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        radius = torch.linalg.vector_norm(points.detach(), dim=-1).clamp_max(self.box / 2)
        inner = radius.long().clamp_max(self.box // 2 - 1)
        return torch.lerp(self.unit[inner], self.unit[inner + 1], radius - inner)

    def values(self) -> Map:
        """Ask for all points of the grid inside the Nyquist sphere."""
        box = self.box
        inside = half_space_radii(box) < box / 2
        k = torch.fft.fftfreq(box, 1 / box)
        grid = torch.stack(torch.meshgrid(k, k, torch.arange(box // 2 + 1.0), indexing="ij"), -1)
        transform = torch.zeros(inside.shape, dtype=torch.complex64)
        device = next(self.network.parameters()).device
        with torch.no_grad():
            parts = [self.at(part.to(device)).cpu() for part in grid[inside].flip(-1).split(_POINTS_AT_ONCE)]
        transform[inside] = torch.cat(parts)
        return irfft3_centred(transform, box)


class VoxelVolume(LearnedVolume):
    """Voxels of Fourier space, one per point of the map's own grid, between which slices are interpolated trilinearly.

    Interpolation multiplies the map by ``Π sinc²(x / box)``: it is part of the model, and of :meth:`values`.

    Parameters
    ----------
    box
        Even side of the images in pixels.
    amplitude
        Unit of the voxels of every shell, 1 by default. An optimiser that moves every number by its rate learns all
        shells alike where that is about the size of their coefficients.
    """

    unit: Tensor

    def __init__(self, box: int, amplitude: Float[Tensor, " shells"] | None = None) -> None:
        super().__init__()
        self.box = box
        self.voxels = nn.Parameter(_SMALL * torch.randn(box + 1, box + 1, box // 2 + 1, 2))
        amplitude = torch.ones(box // 2 + 1) if amplitude is None else amplitude
        self.register_buffer("unit", amplitude[_shells(box)][..., None])

    def grid(self) -> Complex[Tensor, "g g h"]:
        """Voxels of which those on the plane ``kx = 0`` are Friedel mates."""
        half = torch.view_as_complex(self.voxels * self.unit)
        plane = half[..., :1]
        return torch.cat([(plane + plane.flip((0, 1)).conj()) / 2, half[..., 1:]], -1)

    def forward(self, rotations: Rotations, kxy: Float[Tensor, "k 2"]) -> Complex[Tensor, "n k"]:
        """Interpolate."""
        with torch.autocast(kxy.device.type, enabled=False):
            volume = FourierVolume(self.grid(), self.box, padding=1)
            return volume.sample(rotations.float(), kxy[:, 0].contiguous(), kxy[:, 1].contiguous())

    def values(self) -> Map:
        """Transform the voxels inside the Nyquist sphere."""
        box = self.box
        order = torch.fft.fftfreq(box, 1 / box).long() + box // 2
        transform = self.grid().detach().cpu()[order][:, order]
        transform = transform * (half_space_radii(box) < box / 2)
        return irfft3_centred(transform, box) * gridding_window(box, 1)


def _shells(box: int) -> Int[Tensor, "g g h"]:
    """Shells of the voxels, those beyond Nyquist's frequency in the last."""
    k = torch.arange(-(box // 2), box // 2 + 1)
    radius = (k[:, None, None] ** 2 + k[:, None] ** 2 + k[box // 2 :] ** 2).sqrt()
    return (radius + 0.5).long().clamp_max(box // 2)


def decoded_map(volume: LearnedVolume, scale: float, voxel_size_A: float) -> Volume:
    """Map in the units of images whose unitary coefficients were divided by ``scale``."""
    values = volume.values()
    return Volume(values * scale * values.shape[-1], voxel_size_A)
