"""What is learned of the particle, in real space or in Fourier space: its images in given poses, and its maps."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812  the name that torch's own documentation uses
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import irfft3_centred, rfft2_centred
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.decoders import make_point_decoder
from vitreous.methods.cryoformer.features import make_features
from vitreous.reconstruct.fourier_images import half_disc
from vitreous.typing import Complex, Float, Int, Map, Rotations

_POINTS_AT_ONCE = 65_536
POINTS_IN_MEMORY = 1 << 20
_START = -2.0
"""Of the density before its softplus: little everywhere, and not yet so little that nothing could grow."""

_HALF_SPACE = (math.pi / 1000, math.e / 100, 1.0)
"""Normal of the plane between the half spaces: nearly z, and through no point of any grid but the origin."""


class Field(nn.Module, ABC):
    """A particle for every latent.

    Parameters
    ----------
    box, dims
        Side of the images in pixels, size of the latents.
    outputs
        Numbers at a point.
    config
        The networks.
    """

    def __init__(self, box: int, dims: int, outputs: int, config: CryoFormerConfig) -> None:
        super().__init__()
        self.box = box
        self.features = make_features(box, config)
        self.decoder = make_point_decoder(dims, outputs, config)

    @abstractmethod
    def coefficients(self, rotations: Rotations, z: Float[Tensor, "b dims"], box: int) -> Complex[Tensor, "b k"]:
        """Unitary coefficients of projections, those that images cropped to ``box`` pixels have."""

    @abstractmethod
    def map(self, z: Float[Tensor, " dims"]) -> Map:
        """Map whose projections have these coefficients."""

    def at(self, points: Float[Tensor, "b p 3"], z: Float[Tensor, "b dims"]) -> Float[Tensor, "b p outputs"]:
        """Ask the networks for points in [−1, 1]³, in particle coordinates."""
        return self.decoder(self.features(points), z).float()


@dataclass(frozen=True)
class Ball:
    """The voxels of a box that lie within a radius of its centre.

    Attributes
    ----------
    points
        ``(x, y, z)``, 1 at half a box.
    pixels
        Index of each in the flattened image that a projection along z makes.
    voxels
        Index of each in the flattened map.
    """

    points: Float[Tensor, "p 3"]
    pixels: Int[Tensor, " p"]
    voxels: Int[Tensor, " p"]


@lru_cache(maxsize=64)
def ball_of(box: int, radius: float, device: torch.device) -> Ball:
    """Voxels within ``radius``, a share of half the box (cached)."""
    axis = torch.arange(box, device=device) - box // 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flip(-1).reshape(-1, 3) / (box / 2)
    voxels = torch.nonzero(grid.square().sum(-1) <= radius**2)[:, 0]
    return Ball(grid[voxels], voxels % box**2, voxels)


class DensityField(Field):
    """A density of real space that is nowhere negative and 0 beyond a radius.

    A projection is the sum over the voxels of a box, turned into the frame of the particle, so that nothing is
    interpolated but the features at their vertices. Any box will do: one of fewer pixels over the same field gives the
    low frequencies.
    """

    def __init__(self, box: int, dims: int, config: CryoFormerConfig) -> None:
        super().__init__(box, dims, 1, config)
        self.radius = config.radius

    def density(self, points: Float[Tensor, "b p 3"], z: Float[Tensor, "b dims"]) -> Float[Tensor, "b p"]:
        """Density per half a box along a ray, ``[b, p]``."""
        return F.softplus(self.at(points, z)[..., 0] + _START)

    def coefficients(self, rotations: Rotations, z: Float[Tensor, "b dims"], box: int) -> Complex[Tensor, "b k"]:
        """Sum the density along z of the laboratory; where many points are asked for, in parts that are made twice."""
        at_once = max(1, POINTS_IN_MEMORY // len(ball_of(box, self.radius, z.device).points))
        if len(z) <= at_once or not torch.is_grad_enabled():
            return self._rendered(rotations, z, box)
        parts = zip(rotations.split(at_once), z.split(at_once))
        made = [checkpoint(self._rendered, *part, box, use_reentrant=False, preserve_rng_state=False) for part in parts]
        return torch.cat(made)

    def map(self, z: Float[Tensor, " dims"]) -> Map:
        """Ask for every voxel of the ball."""
        ball = ball_of(self.box, self.radius, z.device)
        values = z.new_zeros(self.box**3)
        with torch.no_grad():
            parts = [self.density(part[None], z[None])[0] for part in ball.points.split(_POINTS_AT_ONCE)]
        values[ball.voxels] = torch.cat(parts) * (2 / self.box)
        return values.unflatten(0, (self.box,) * 3).cpu()

    def _rendered(self, rotations: Tensor, z: Tensor, box: int) -> Tensor:
        ball = ball_of(box, self.radius, z.device)
        density = self.density(ball.points @ rotations, z)  # r = Rᵀ r_lab is the row vector r_lab @ R
        images = density.new_zeros(len(z), box * box).scatter_add(1, ball.pixels.expand(len(z), -1), density)
        transforms = half_disc(box).gather(rfft2_centred(images.unflatten(1, (box, box))))
        # a step along z is 2/box; the transform of fewer pixels is smaller by the square of their share
        return transforms * (2 / box) * (self.box / box**2)


class SpectralField(Field):
    """Coefficients at points of Fourier space; those of one half space are conjugates of those of the other."""

    def __init__(self, box: int, dims: int, config: CryoFormerConfig) -> None:
        super().__init__(box, dims, 2, config)

    def coefficients(self, rotations: Rotations, z: Float[Tensor, "b dims"], box: int) -> Complex[Tensor, "b k"]:
        """Slices: the point ``Rᵀ(kx, ky, 0)`` is the row vector ``(kx, ky) @ R[:2]``."""
        disc = half_disc(box)
        kxy = torch.stack([disc.kx, disc.ky], -1).to(z)
        return self._at_frequencies(kxy @ rotations[:, :2], z)

    def map(self, z: Float[Tensor, " dims"]) -> Map:
        """Ask for all points of the grid inside the Nyquist sphere."""
        box = self.box
        inside = half_space_radii(box) < box / 2
        k = torch.fft.fftfreq(box, 1 / box)
        grid = torch.stack(torch.meshgrid(k, k, torch.arange(box // 2 + 1.0), indexing="ij"), -1)
        points = grid[inside].flip(-1).to(z)
        transform = torch.zeros(inside.shape, dtype=torch.complex64)
        with torch.no_grad():
            parts = [self._at_frequencies(part[None], z[None])[0].cpu() for part in points.split(_POINTS_AT_ONCE)]
        transform[inside] = torch.cat(parts)
        return irfft3_centred(transform * box, box)

    def _at_frequencies(self, k: Tensor, z: Tensor) -> Tensor:
        """Coefficients at points ``[b, p, 3]`` in Fourier pixels."""
        side = 1 - 2 * (k @ k.new_tensor(_HALF_SPACE) > 0).float()
        real, imaginary = self.at(k * side[..., None] / (self.box / 2), z).unbind(-1)
        return torch.complex(real, imaginary * side)


def make_field(box: int, dims: int, config: CryoFormerConfig) -> Field:
    """Make the field that ``config.domain`` names."""
    return DensityField(box, dims, config) if config.domain == "real" else SpectralField(box, dims, config)
