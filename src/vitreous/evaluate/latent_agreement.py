"""Whether two runs place the same particles alike: half-sets, restarts, other seeds, other methods."""

from dataclasses import dataclass
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from vitreous.errors import InputError
from vitreous.evaluate.latents import cross_validated, regress_numbers, variance_explained
from vitreous.typing import Float

_COMPARED = 20_000


@dataclass(frozen=True)
class LatentAgreement:
    """What the latents of the same particles in two runs have in common.

    Attributes
    ----------
    canonical_correlations
        Correlations of the best matching linear combinations, greatest first.
    first_from_second, second_from_first
        Share of the variance of one run's latents that nearest neighbours in the other's foretell, cross-validated:
        1 where either is a function of the other, whatever its form, 0 where it says nothing.
    shared_neighbours, shared_by_chance
        Mean share of the nearest neighbours that are the same particles in both runs, and what chance gives.
    """

    canonical_correlations: Float[Tensor, " k"]
    first_from_second: float
    second_from_first: float
    shared_neighbours: float
    shared_by_chance: float

    def summary(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return {
            "canonical_correlations": self.canonical_correlations.tolist(),
            "first_from_second": self.first_from_second,
            "second_from_first": self.second_from_first,
            "shared_neighbours": self.shared_neighbours,
            "shared_by_chance": self.shared_by_chance,
        }


def latent_agreement(
    first: Float[Tensor, "n d1"],
    second: Float[Tensor, "n d2"],
    generator: torch.Generator,
    neighbours: int = 20,
) -> LatentAgreement:
    """Compare two sets of latents of the same particles, in the same order; of many, 20,000 at random.

    Neither needs the other's dimension, scale or axes.

    Raises
    ------
    InputError
        If there are too few particles.
    """
    if len(first) <= max(neighbours + 1, 2 * (first.shape[1] + second.shape[1])):
        raise InputError(
            "the runs have too few particles in common to compare latents", found=len(first), remedy="Give more"
        )
    rows = torch.randperm(len(first), generator=generator)[:_COMPARED]
    a, b = first[rows], second[rows]
    return LatentAgreement(
        canonical_correlations=canonical_correlations(a, b),
        first_from_second=_foretold(b, a, generator, neighbours),
        second_from_first=_foretold(a, b, generator, neighbours),
        shared_neighbours=_shared_neighbours(a, b, neighbours),
        shared_by_chance=neighbours / (len(a) - 1),
    )


def canonical_correlations(first: Float[Tensor, "n d1"], second: Float[Tensor, "n d2"]) -> Float[Tensor, " k"]:
    """Canonical correlations (Hotelling 1936): singular values of the product of the sets' orthonormal bases."""
    bases = [_basis(z.double() - z.double().mean(0)) for z in (first, second)]
    return torch.linalg.svdvals(bases[0].T @ bases[1]).clamp_max(1.0)


def _basis(centred: Tensor) -> Tensor:
    """Orthonormal basis of the columns, without directions in which nothing varies."""
    columns, widths, _ = torch.linalg.svd(centred, full_matrices=False)
    return columns[:, widths > 1e-6 * widths.max().clamp_min(1e-30)]


def _foretold(known: Tensor, wanted: Tensor, generator: torch.Generator, neighbours: int) -> float:
    found = cross_validated(known, wanted, generator, lambda k, v, z: regress_numbers(k, v, z, neighbours))
    return variance_explained(wanted, found)


def _shared_neighbours(first: Tensor, second: Tensor, neighbours: int) -> float:
    near = [torch.from_numpy(cKDTree(z.numpy()).query(z.numpy(), neighbours + 1)[1])[:, 1:] for z in (first, second)]
    return float((near[0][:, :, None] == near[1][:, None, :]).any(2).double().mean())
