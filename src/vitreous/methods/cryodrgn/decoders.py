"""Decoders of latents: all give slices of the transform of the map of a latent, and the whole transform.

The network of Zhong et al. 2021 (doi:10.1038/s41592-020-01049-4) is one of a point in Fourier space and of z. It is
asked for points of one half space only; the others are complex conjugates of these, because maps are real. The basis
is a mean and a few maps, which z combines: no network is asked per point.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import rfft3_centred
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.nn.positional import PositionalEncoding
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.physics.basis_slices import basis_grids, basis_slices
from vitreous.reconstruct.masks import sphere_mask
from vitreous.typing import Complex, Float, Rotations

_POINTS_AT_ONCE = 16_384
_SMALL, _EDGE_VOXELS = 1e-3, 3.0

_HALF_SPACE = (math.pi / 1000, math.e / 100, 1.0)
"""Normal of the plane between the half spaces: nearly z, and through no point of any grid but the origin."""


class Decoder(nn.Module, ABC):
    """Coefficients of the map of a latent, as unitary coefficients of its projections."""

    @abstractmethod
    def forward(
        self, rotations: Rotations, kxy: Float[Tensor, "k 2"], z: Float[Tensor, "n dims"]
    ) -> Complex[Tensor, "n k"]:
        """Slices: coefficients of map n at the points ``R[n]ᵀ(kx, ky, 0)``, in Fourier pixels."""

    @abstractmethod
    def transform(self, z: Float[Tensor, " dims"]) -> Complex[Tensor, "z y half_x"]:
        """Transform of a map on its own grid inside the Nyquist sphere, in the order of ``rfft3_centred``."""


def make_decoder(box: int, dims: int, config: CryoDrgnConfig) -> Decoder:
    """Make the decoder that ``config.decoder`` names."""
    return BasisDecoder(box, dims, config) if config.decoder == "basis" else SliceDecoder(box, dims, config)


class SliceDecoder(Decoder):
    """A residual network of a point of Fourier space and of z.

    Parameters
    ----------
    box, dims
        Side of the images in pixels, size of the latents.
    config
        Width, layers, encoding.
    """

    def __init__(self, box: int, dims: int, config: CryoDrgnConfig) -> None:
        super().__init__()
        self.box = box
        self.encoding = PositionalEncoding(box, config.encoding, sigma=config.encoding_sigma)
        self.network = ResidualMLP(
            self.encoding.features, 2, width=config.decoder_width, layers=config.decoder_layers, shared=dims
        )

    def forward(
        self, rotations: Rotations, kxy: Float[Tensor, "k 2"], z: Float[Tensor, "n dims"]
    ) -> Complex[Tensor, "n k"]:
        """Slices: the point ``Rᵀ(kx, ky, 0)`` is the row vector ``(kx, ky) @ R[:2]``."""
        return self.at(rotations[:, :2], kxy, z)

    def transform(self, z: Float[Tensor, " dims"]) -> Complex[Tensor, "z y half_x"]:
        """Ask for all points of the grid."""
        box = self.box
        radii = half_space_radii(box)
        inside = radii < box / 2
        k = torch.fft.fftfreq(box, 1 / box)
        grid = torch.stack(torch.meshgrid(k, k, torch.arange(box // 2 + 1.0), indexing="ij"), -1)
        points = grid[inside].flip(-1).to(z)
        axes = torch.eye(3).to(points)[None]
        transform = torch.zeros(radii.shape, dtype=torch.complex64)
        transform[inside] = torch.cat([self.at(axes, part, z[None])[0].cpu() for part in points.split(_POINTS_AT_ONCE)])
        return transform

    def at(
        self, axes: Float[Tensor, "b d 3"], k: Float[Tensor, "k d"], z: Float[Tensor, "b dims"]
    ) -> Complex[Tensor, "b k"]:
        """Coefficients of map b at the points ``k @ axes[b]``, in Fourier pixels."""
        with torch.autocast(k.device.type, enabled=False):
            axes = axes.float() / self.box
            # (k·axes)·vectors = k·(axes·vectors): points are never made, but for their half space
            height = k @ (axes @ axes.new_tensor(_HALF_SPACE)).T
            flip = 1 - 2 * (height > 0).T.float()[..., None]
            features = self.encoding((k @ (axes @ self.encoding.vectors.T)) * flip)
        real, imaginary = self.network(features, z).float().unbind(-1)
        return torch.complex(real, imaginary * flip[..., 0])


class BasisDecoder(Decoder):
    """A mean and principal maps, combined by z.

    Maps are voxels inside a ball, transformed at every step; slices are interpolated trilinearly between the voxels of
    their padded transforms, and the gradient is inserted there by the adjoint. Voxels of Fourier space as parameters
    would know of no ball, and eight times as many of them learn noise.

    Parameters
    ----------
    box, dims
        Side of the images in pixels, size of the latents.
    config
        Number of maps, and the network that makes their coefficients from z.
    """

    ball: Tensor

    def __init__(self, box: int, dims: int, config: CryoDrgnConfig) -> None:
        super().__init__()
        maps = config.basis_maps or dims
        self.maps = nn.Parameter(_SMALL * torch.randn(1 + maps, box, box, box))
        self.register_buffer("ball", sphere_mask(box, config.window * box / 2, _EDGE_VOXELS), persistent=False)
        width = config.encoder_width
        self.network = ResidualMLP(dims, maps, width=width, layers=1) if config.basis_maps else nn.Identity()
        self._held: Tensor | None = None

    def coefficients(self, z: Float[Tensor, "n dims"]) -> Float[Tensor, "n maps"]:
        """What the maps are multiplied by; 1 for the mean."""
        found = self.network(z)
        return torch.cat([torch.ones_like(found[:, :1]), found], 1)

    def forward(
        self, rotations: Rotations, kxy: Float[Tensor, "k 2"], z: Float[Tensor, "n dims"]
    ) -> Complex[Tensor, "n k"]:
        """Combine the maps' slices."""
        with torch.autocast(kxy.device.type, enabled=False):
            k = (kxy[:, 0], kxy[:, 1])
            return basis_slices(self._grids(), self.coefficients(z.float()), rotations.float(), k)

    def transform(self, z: Float[Tensor, " dims"]) -> Complex[Tensor, "z y half_x"]:
        """Combine the maps."""
        values = torch.tensordot(self.coefficients(z[None])[0], self.maps * self.ball, 1)
        box = values.shape[0]
        return (rfft3_centred(values) / box * (half_space_radii(box, values.device) < box / 2)).cpu()

    def _grids(self) -> Tensor:
        """Padded transforms, made once where the maps no longer learn."""
        if self.maps.requires_grad:
            return basis_grids(self.maps * self.ball)
        if self._held is None:
            self._held = basis_grids(self.maps * self.ball)
        return self._held
