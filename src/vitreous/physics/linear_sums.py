"""Normal equations of maps of which every image shows a known combination, voxel by voxel of a padded transform.

``y_i = C_i P_i Σ_m z_im V_m + noise`` with latents of known moments: in each voxel of the transform the maps solve
``Σ_l (Σ_i C_i² E[z_im z_il]) V_l = Σ_i C_i E[z_im] y_i``, where sums go over the samples of slices near it, weighted as
in trilinear interpolation.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vitreous.constants import PADDING
from vitreous.physics import kernels
from vitreous.physics.slices import map_from_grid, padded_size, require_finite
from vitreous.physics.slices_reference import linear_insert_plain
from vitreous.typing import Complex, Float, Int, Rotations

_AT_ONCE = 1 << 16
"""Voxels whose equations are solved at one time."""

_TINY = 1e-30
_REACH = 2.0
"""Padded voxels beyond the outermost sample to which interpolation may add."""

Samples = tuple[Complex[Tensor, "n k"], Float[Tensor, "n k"]]
Moments = tuple[Float[Tensor, "n maps"], Float[Tensor, "n maps maps"]]


@lru_cache(maxsize=1)
def _sphere(box: int, padding: int) -> tuple[Int[Tensor, "g g h"], Int[Tensor, " voxels"], Int[Tensor, " voxels"]]:
    """Row of each voxel that samples can reach, 0 elsewhere; of each row its voxel in the grid, and its shell."""
    half = padded_size(box, padding) // 2
    axis = torch.arange(-half, half + 1)
    r = (axis[:, None, None].square() + axis[:, None].square() + axis[half:].square()).float().sqrt()
    voxels = (r <= half + _REACH).flatten().nonzero()[:, 0]
    rows = torch.zeros(r.numel(), dtype=torch.int32)
    rows[voxels] = torch.arange(len(voxels), dtype=torch.int32)
    return rows.reshape(r.shape), voxels, (r.flatten()[voxels] / padding + 0.5).long()


class LinearSums:
    """Sums over images, from which maps are solved jointly.

    Parameters
    ----------
    box
        Side of the maps in voxels; times ``padding`` it must be even.
    maps
        Their number M. Each of about ``π/12 · (padding·box)³`` voxels has ``2M + M(M + 1)/2`` sums of 4 bytes.
    padding
        Oversampling of the transform.
    """

    def __init__(self, box: int, maps: int, padding: int = PADDING) -> None:
        self.box, self.maps, self.padding = box, maps, padding
        self._rows, self._voxels, self._shell = _sphere(box, padding)
        self._plane = (self._voxels % self._rows.shape[2] == 0).nonzero()[:, 0]
        self._pairs = torch.tril_indices(maps, maps)
        self._sums = torch.zeros(len(self._voxels), 2 * maps + self._pairs.shape[1])

    def add(
        self, rotations: Rotations, k: tuple[Float[Tensor, " k"], Float[Tensor, " k"]], samples: Samples, z: Moments
    ) -> None:
        """Insert images.

        Parameters
        ----------
        rotations
            Of the images.
        k
            Integer frequencies of the samples, ``hypot(kx, ky) < box / 2``.
        samples
            ``C·y`` and ``C²``.
        z
            ``E[z]`` and ``E[z zᵀ]`` of every image.
        """
        require_finite(rotations)
        parts, second = self._flat(samples, z)
        kernels.linear_insert_kernel(
            *(self._sums.numpy(), self._rows.numpy(), rotations.float().contiguous().numpy()),
            *(k[0].numpy(), k[1].numpy(), np.float32(self.padding)),
            *(parts.numpy(), z[0].contiguous().numpy(), second.numpy(), torch.get_num_threads()),
        )

    def add_plain(
        self, rotations: Rotations, k: tuple[Float[Tensor, " k"], Float[Tensor, " k"]], samples: Samples, z: Moments
    ) -> None:
        """Do as :meth:`add` in torch operations: its twin."""
        parts, second = self._flat(samples, z)
        linear_insert_plain((self._sums, self._rows), rotations, k, float(self.padding), (parts, z[0], second))

    def _flat(self, samples: Samples, z: Moments) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n pairs"]]:
        """Three numbers per sample, and the lower triangles of the second moments."""
        parts = torch.cat([torch.view_as_real(samples[0].resolve_conj()), samples[1][..., None]], -1)
        return parts.contiguous(), z[1][:, self._pairs[0], self._pairs[1]].contiguous()

    def shell_weights(self) -> Float[Tensor, "maps s"]:
        """Mean of ``Σ C² E[z_m²]`` over the voxels of each shell: how many images tell of a voxel of each map."""
        shells = self.box // 2 + 1
        sums = torch.zeros(shells, self.maps, dtype=torch.float64)
        counts = torch.zeros(shells)
        own = 2 * self.maps + (self._pairs[0] == self._pairs[1]).nonzero()[:, 0]
        for rows in self._inside(shells):
            sums.index_add_(0, self._shell[rows], self._totals(rows)[:, own].double())
            counts += torch.bincount(self._shell[rows], minlength=shells)
        return (sums / counts.clamp_min(1)[:, None]).T.float()

    def solve(self, added: Float[Tensor, "maps s"]) -> Float[Tensor, "maps z y x"]:
        """Solve for all maps jointly; they are zero beyond the last shell.

        Parameters
        ----------
        added
            To the diagonal of the equations, shell by shell: noise power over signal power of each map.
        """
        g, _, h = self._rows.shape
        grids = torch.zeros(self.maps, g * g * h, dtype=torch.complex64)
        for rows in self._inside(added.shape[1]):
            totals = self._totals(rows).double()
            matrix = torch.zeros(len(rows), self.maps, self.maps, dtype=totals.dtype)
            matrix[:, self._pairs[0], self._pairs[1]] = totals[:, 2 * self.maps :]
            matrix.diagonal(dim1=1, dim2=2).add_(added.T[self._shell[rows]] + _TINY)
            right = totals[:, : 2 * self.maps].reshape(-1, 2, self.maps).mT
            solved = torch.cholesky_solve(right, torch.linalg.cholesky(matrix)).float()
            grids[:, self._voxels[rows]] = torch.view_as_complex(solved.contiguous()).T
        return torch.stack([map_from_grid(grid.reshape(g, g, h), self.box, self.padding) for grid in grids])

    def _inside(self, shells: int) -> tuple[Int[Tensor, " rows"], ...]:
        return (self._shell < shells).nonzero()[:, 0].split(_AT_ONCE)

    def _totals(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows sums"]:
        """Sums of some voxels, with Friedel mates added on the plane ``kx = 0``."""
        total = self._sums[rows]
        on_plane = self._voxels[rows] % self._rows.shape[2] == 0
        place = torch.searchsorted(self._plane, rows[on_plane])
        mates = self._sums[self._plane[len(self._plane) - 1 - place]]  # rows are in the order of the grid
        mates[:, self.maps : 2 * self.maps] *= -1
        total[on_plane] += mates
        return total
