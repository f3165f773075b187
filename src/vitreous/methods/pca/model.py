"""Maps that are a mean plus a few principal maps, and the latents of images under them.

``y = C·P(V₀ + Σ z_k V_k) + noise`` with ``z ~ N(0, 1)`` and white noise of power 1 per coefficient: probabilistic PCA
(Tipping & Bishop 1999) seen through projections, as in 3D covariance estimation (Tagare et al. 2015; RECOVAR).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Latents, Particles, Volume
from vitreous.errors import InputError
from vitreous.fourier.frequencies import Disc, disc
from vitreous.nn.encoders import refuse_other_grid
from vitreous.physics.linear_posterior import linear_posterior
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.backprojection import centred_coefficients, disc_ctf
from vitreous.typing import Complex, Float, Map, Rotations

_BATCH = 256
_LEAST_CTF = 0.05


@dataclass(frozen=True)
class LinearViews:
    """Centred unitary coefficients ``[b, k]`` of images, what their maps' slices are multiplied by, orientations."""

    values: Complex[Tensor, "b k"]
    ctf: Float[Tensor, "b k"]
    rotations: Rotations


def linear_views(particles: Particles, progress: Progress, what: str) -> Iterator[tuple[Tensor, LinearViews]]:
    """Yield all images in batches with their rows.

    Raises
    ------
    InputError
        Where the particles have no poses.
    """
    poses = particles.poses
    if poses is None:
        raise InputError(
            "the particles have no poses", remedy="Run `vitreous abinitio` first, or give a STAR file with angles"
        )
    coefficients = full_disc(particles.box)
    with progress.stage(what, total=len(particles)):
        for rows in torch.arange(len(particles)).split(_BATCH):
            shifts_px = (poses.shifts_A[rows] / particles.pixel_size_A).float()
            values = centred_coefficients(particles.images(rows), shifts_px, coefficients)
            ctf = disc_ctf(particles.optics.select(rows), coefficients, particles.pixel_size_A)
            if particles.ctf_premultiplied:
                values, ctf = _unmultiplied(values, ctf)
            yield rows, LinearViews(values, ctf, poses.rotations[rows].float())
            progress.advance(len(rows))


def _unmultiplied(
    values: Complex[Tensor, "b k"], ctf: Float[Tensor, "b k"]
) -> tuple[Complex[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Images as they were before they were multiplied by their CTF, so with white noise of power 1.

    Reading made the multiplied noise σ = 1, which is the root of the mean of C². Coefficients of which the CTF left
    next to nothing are left out.
    """
    told = ctf.abs() > _LEAST_CTF
    scale = ctf.square().mean(1, keepdim=True).sqrt()
    return torch.where(told, values * scale / torch.where(told, ctf, 1.0), 0.0), ctf * told


def full_disc(box: int) -> Disc:
    """All coefficients inside the Nyquist circle, one of every Friedel pair."""
    return disc(box, box / 2)


@dataclass(frozen=True)
class LinearMaps:
    """A mean and principal maps, in units in which their slices are unitary coefficients of images.

    Attributes
    ----------
    maps
        ``[1 + dims, z, y, x]``, the mean first.
    pixel_size_A
        Side of a voxel.
    """

    maps: Float[Tensor, "maps z y x"]
    pixel_size_A: float
    disc: Disc = field(init=False)

    def __post_init__(self) -> None:
        """Pick the coefficients that are compared."""
        object.__setattr__(self, "disc", full_disc(self.maps.shape[-1]))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "LinearMaps":
        """Load what :attr:`state` held."""
        return cls(state["maps"], float(state["pixel_size_A"]))

    @property
    def state(self) -> dict[str, Tensor]:
        """All that there is to it, as tensors."""
        return {"maps": self.maps, "pixel_size_A": torch.tensor(self.pixel_size_A, dtype=torch.float64)}

    @property
    def box(self) -> int:
        """Side of the maps in voxels."""
        return int(self.maps.shape[-1])

    @property
    def dims(self) -> int:
        """Number of principal maps."""
        return len(self.maps) - 1

    @cached_property
    def transforms(self) -> tuple[FourierVolume, ...]:
        """Padded transforms of the maps."""
        return tuple(FourierVolume.from_map(values) for values in self.maps)

    def slices(self, views: LinearViews) -> Complex[Tensor, "b maps k"]:
        """Slices of every map, multiplied by the CTF."""
        k = (self.disc.kx, self.disc.ky)
        return torch.stack([t.sample(views.rotations, *k) for t in self.transforms], 1) * views.ctf[:, None]

    def posterior(
        self, views: LinearViews, slices: Complex[Tensor, "b maps k"]
    ) -> tuple[Float[Tensor, "b dims"], Float[Tensor, "b dims dims"]]:
        """Mean and covariance of the latents."""
        return linear_posterior(views.values, slices)

    def embed(self, particles: Particles, progress: Progress) -> Latents:
        """Return the latents of particles with poses.

        Raises
        ------
        InputError
            Where the particles have no poses, or are on another grid than the maps.
        """
        refuse_other_grid(particles, self.box, self.pixel_size_A)
        means, deviations = [], []
        for _, views in linear_views(particles, progress, "Embedding"):
            mean, covariance = self.posterior(views, self.slices(views))
            means.append(mean)
            deviations.append(covariance.diagonal(dim1=1, dim2=2).sqrt())
        return Latents(torch.cat(means), torch.cat(deviations))

    def volume(self, z: Float[Tensor, " dims"]) -> Volume:
        """Return the map of one latent."""
        values: Map = self.maps[0] + torch.tensordot(z.to(self.maps), self.maps[1:], 1)
        return Volume(values * self.maps.shape[-1], self.pixel_size_A)
