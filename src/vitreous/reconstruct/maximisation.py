"""M-step: sums of images over the poses of a grid, then insertion of one slice per rotation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.compute.processes import current_share
from vitreous.fourier.frequencies import Disc
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct import posterior_kernels, posterior_plain
from vitreous.reconstruct.expectation import AnyReferences, cross_terms
from vitreous.typing import Float, Int, Rotations

_NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class PosteriorSummary:
    """What is left of a posterior once its weights are summed.

    Attributes
    ----------
    best
        Index of the best pose in the flattened ``t × r`` grid.
    effective_poses
        ``(Σw)² / Σw²``.
    log_evidence
        Log of the likelihood summed over the grid's poses, up to a constant per image.
    """

    best: Int[Tensor, " m"]
    effective_poses: Float[Tensor, " m"]
    log_evidence: Float[Tensor, " m"]


class RotationSums:
    """Posterior-weighted sums of ``Y·C`` (centred) and ``C²`` for every rotation of a grid.

    They are kept in float64: a search amplifies rounding errors, and so its result would depend on how many threads and
    processes add images up.
    """

    def __init__(self, n_rotations: int, count: int, device: torch.device | str = "cpu") -> None:
        self._values, self._weights = (
            torch.zeros(n_rotations, width, dtype=torch.float64, device=device) for width in (2 * count, count)
        )
        self._mass = torch.zeros(n_rotations, dtype=torch.float64, device=device)

    def add(self, weights: Float[Tensor, "m t r"], copies: Float[Tensor, "mt k2"], c2: Float[Tensor, "m k"]) -> None:
        """Add images with given weights, by matrix products: the plain twin of :meth:`add_posterior`."""
        per_rotation = weights.sum(1)
        self._values += weights.flatten(0, 1).T @ copies
        self._weights += per_rotation.T @ c2
        self._mass += per_rotation.sum(0)

    def add_posterior(
        self, copies: Float[Tensor, "mt k2"], c2: Float[Tensor, "m k"], references: AnyReferences, sharpness: float
    ) -> PosteriorSummary:
        """Add images with their posterior to the power ``sharpness``; only poses that carry weight are touched."""
        images = len(c2)
        cross = cross_terms(copies, images, references)
        norms = references.norms(c2)
        if cross.device.type != "cpu":
            weights, found = posterior_plain.kept_weights(cross, norms, sharpness)
            self.add(weights, copies, c2)
            return PosteriorSummary(*found)
        best = torch.empty(images, dtype=torch.int64)
        effective, evidence = torch.empty(2, images)
        flat = torch.empty(images, dtype=torch.bool)
        sums = (self._values.numpy(), self._weights.numpy(), self._mass.numpy())
        summary = (best.numpy(), effective.numpy(), evidence.numpy(), flat.numpy())
        posterior_kernels.accumulate_kernel(
            cross.numpy(), norms.numpy(), float(sharpness), copies.numpy(), c2.contiguous().numpy(), sums, summary
        )
        if bool(flat.any()):
            weights, _ = posterior_plain.kept_weights(cross[flat], norms[flat], sharpness)
            self.add(weights, copies.view(images, -1, copies.shape[1])[flat].flatten(0, 1), c2[flat])
        return PosteriorSummary(best, effective, evidence)

    @staticmethod
    def merged(parts: "Sequence[RotationSums]") -> "RotationSums":
        """Sum of several sums over the same grid, of all processes, in the CPU's memory."""
        total = RotationSums(len(parts[0]._mass), parts[0]._weights.shape[1])
        for part in parts:
            total._values += part._values.cpu()
            total._weights += part._weights.cpu()
            total._mass += part._mass.cpu()
        current_share().sum_(total._values, total._weights, total._mass)
        return total

    @property
    def mass(self) -> Float[Tensor, " r"]:
        """Number of images at every rotation."""
        return self._mass.float()

    def split(self, classes: int) -> "list[RotationSums]":
        """Sums of every class, where the grid holds the same rotations once per class."""
        columns = (self._values.chunk(classes), self._weights.chunk(classes), self._mass.chunk(classes))
        parts = []
        for values, weights, mass in zip(*columns, strict=True):
            part = RotationSums(0, weights.shape[1])
            part._values, part._weights, part._mass = values, weights, mass
            parts.append(part)
        return parts

    def insert_into(self, accumulator: SliceAccumulator, rotations: Rotations, disc: Disc) -> None:
        """Insert the summed slices of all rotations that carry weight."""
        kept = torch.nonzero(self._mass > _NEGLIGIBLE)[:, 0]
        count = self._weights.shape[1]
        values = torch.view_as_complex(self._values[kept].float().view(len(kept), count, 2))
        k = (disc.kx[:count].contiguous(), disc.ky[:count].contiguous())
        accumulator.add(rotations[kept].contiguous(), k, values, self._weights[kept].float())
