"""Probabilistic PCA of particles with known poses, by expectation and maximisation.

The M-step solves for all maps jointly, voxel by voxel of their transforms. Maps have a prior that is learned with them:
power per shell, and a support.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Result
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.pca.model import LinearMaps, LinearViews, full_disc, linear_views
from vitreous.methods.pca.prior import Support, solve_with_prior
from vitreous.physics.linear_sums import LinearSums
from vitreous.typing import Float

_UNKNOWN = 0.98
"""Mean variance of a latent of which images say nothing; before any image it is 1."""

_NOTHING_FOUND = (
    "the images show no differences between particles beyond their noise: latents say nothing, and one map holds for"
    " all. Check that poses and CTF values belong to these images, or give more particles"
)


@dataclass(frozen=True)
class Moments:
    """First moment ``[b, maps]`` and second ``[b, maps, maps]`` of ``(1, z)`` for some images."""

    first: Float[Tensor, "b maps"]
    second: Float[Tensor, "b maps maps"]

    @classmethod
    def of(cls, mean: Float[Tensor, "b dims"], covariance: Float[Tensor, "b dims dims"]) -> "Moments":
        """Moments of a constant 1 beside the latents."""
        first = torch.cat([torch.ones(len(mean), 1), mean], 1)
        second = first[:, :, None] * first[:, None, :]
        second[:, 1:, 1:] += covariance
        return cls(first, second)


class Pca:
    """Fit a mean and principal maps, and embed the particles.

    Parameters
    ----------
    dims
        Number of principal maps.
    config
        How they are fitted.
    """

    def __init__(self, dims: int, config: PcaConfig | None = None) -> None:
        self.dims = dims
        self.config = config or PcaConfig()

    def run(self, particles: Particles, progress: Progress) -> tuple[Result, LinearMaps]:
        """Fit, then embed all particles.

        Raises
        ------
        InputError
            Where the particles have no poses.
        """
        maps, support = self._start(particles, progress)
        for number in range(self.config.iterations):
            what = f"Round {number + 1} of {self.config.iterations}"
            maps, support = self._round(maps, support, particles, progress, what)
        latents = maps.embed(particles, progress)
        warnings = (_NOTHING_FOUND,) if bool((latents.std.square().mean(0) > _UNKNOWN).all()) else ()
        return Result(latents=latents.mean, latent_std=latents.std, state=maps.state, warnings=warnings), maps

    def _start(self, particles: Particles, progress: Progress) -> tuple[LinearMaps, Support]:
        """Mean map, and what random latents make of the residuals."""
        box = particles.box
        maps = LinearMaps(torch.zeros(1 + self.dims, box, box, box), particles.pixel_size_A)
        generator = torch.Generator().manual_seed(self.config.seed)
        z = torch.randn(len(particles), self.dims, generator=generator)
        sums = LinearSums(box, 1 + self.dims)
        for rows, views in linear_views(particles, progress, "Starting"):
            _insert(sums, views, Moments.of(z[rows], torch.zeros(len(rows), self.dims, self.dims)))
        return _solved(sums, maps, Support.ball(box))

    def _round(
        self, maps: LinearMaps, support: Support, particles: Particles, progress: Progress, what: str
    ) -> tuple[LinearMaps, Support]:
        sums = LinearSums(particles.box, 1 + self.dims)
        total = torch.zeros(1 + self.dims, 1 + self.dims, dtype=torch.float64)
        for _, views in linear_views(particles, progress, what):
            moments = Moments.of(*maps.posterior(views, maps.slices(views)))
            total += moments.second.sum(0).double()
            _insert(sums, views, moments)
        solved, found = _solved(sums, maps, support)
        return whitened(solved, total / len(particles)), found


def _insert(sums: LinearSums, views: LinearViews, moments: Moments) -> None:
    disc = full_disc(sums.box)
    samples = (views.values * views.ctf, views.ctf.square())
    sums.add(views.rotations, (disc.kx, disc.ky), samples, (moments.first, moments.second))


def _solved(sums: LinearSums, before: LinearMaps, support: Support) -> tuple[LinearMaps, Support]:
    """Solve for the maps within a support, that of the new mean map."""
    made = solve_with_prior(sums, before.maps, support)
    found = Support.ball(before.box).within(made.values[0], made.noise)
    return LinearMaps(made.values * found.weights, before.pixel_size_A), found


def whitened(maps: LinearMaps, second: Float[Tensor, "maps maps"]) -> LinearMaps:
    """The same family of maps, such that latents have mean 0 and covariance 1, and principal maps are orthogonal.

    Parameters
    ----------
    maps
        A mean and principal maps.
    second
        Mean second moment of ``(1, z)`` over the particles.
    """
    shift = second[0, 1:]
    spread = second[1:, 1:] - shift[:, None] * shift[None, :]
    root = torch.linalg.cholesky(spread)
    principal = maps.maps[1:].flatten(1).double()
    scaled = root.T @ principal
    _, turn = torch.linalg.eigh(scaled @ scaled.T)
    ordered = (turn.flip(1).T @ scaled).float().reshape(maps.maps[1:].shape)
    mean = maps.maps[0] + (shift @ principal).float().reshape(maps.maps[0].shape)
    return LinearMaps(torch.cat([mean[None], ordered]), maps.pixel_size_A)
