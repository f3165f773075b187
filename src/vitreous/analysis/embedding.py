"""What a cloud of latents looks like: principal axes, clusters, points along the way, and how far to trust a latent."""

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from vitreous.data import Latents
from vitreous.typing import Float, Int

_LLOYD_ROUNDS = 100
_TAILS = (0.05, 0.95)
_NEIGHBOUR = 10


@dataclass(frozen=True)
class PrincipalAxes:
    """Axes of a cloud of points, widest first.

    Attributes
    ----------
    mean
        Centre.
    axes
        Orthonormal rows ``[dims, dims]``.
    shares
        Share of the variance along each.
    """

    mean: Float[Tensor, " dims"]
    axes: Float[Tensor, "axes dims"]
    shares: Float[Tensor, " axes"]


def principal_axes(z: Float[Tensor, "n dims"]) -> PrincipalAxes:
    """Return the principal axes of points."""
    mean = z.mean(0)
    _, widths, axes = torch.linalg.svd(z - mean, full_matrices=False)
    power = widths.square()
    return PrincipalAxes(mean, axes, power / power.sum().clamp_min(1e-30))


def along_axis(
    z: Float[Tensor, "n dims"], found: PrincipalAxes, axis: int, points: int
) -> Float[Tensor, "points dims"]:
    """Return evenly spaced points on a principal axis, from the 5th to the 95th percentile of the points on it."""
    direction = found.axes[axis]
    low, high = torch.quantile((z - found.mean) @ direction, torch.tensor(_TAILS).to(z)).tolist()
    return found.mean + torch.linspace(low, high, points)[:, None].to(z) * direction


def k_means(
    z: Float[Tensor, "n dims"], clusters: int, generator: torch.Generator
) -> tuple[Float[Tensor, "clusters dims"], Int[Tensor, " n"]]:
    """Cluster points by Lloyd's algorithm from k-means++ seeds (Arthur & Vassilvitskii 2007).

    Returns
    -------
    centres, labels
        Clusters are numbered from 0 along the first principal axis; there are at most as many as points.
    """
    centres = _seeds(z, min(clusters, len(z)), generator)
    labels = torch.cdist(z, centres).argmin(1)
    for _ in range(_LLOYD_ROUNDS):
        centres = torch.stack(
            [z[labels == k].mean(0) if bool((labels == k).any()) else c for k, c in enumerate(centres)]
        )
        found = torch.cdist(z, centres).argmin(1)
        if bool((found == labels).all()):
            break
        labels = found
    order = torch.argsort(centres @ principal_axes(z).axes[0])
    return centres[order], torch.argsort(order)[labels]


def _seeds(z: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    chosen = [int(torch.randint(len(z), (1,), generator=generator))]
    distance = (z - z[chosen[0]]).square().sum(1)
    while len(chosen) < clusters:
        weights = distance if float(distance.sum()) > 0 else torch.ones_like(distance)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        distance = torch.minimum(distance, (z - z[chosen[-1]]).square().sum(1))
    return z[chosen]


def nearest_rows(z: Float[Tensor, "n dims"], points: Float[Tensor, "p dims"]) -> Int[Tensor, " p"]:
    """Return the row of ``z`` nearest to each point."""
    return torch.from_numpy(cKDTree(z.numpy()).query(points.numpy())[1]).long()


def latent_confidence(latents: Latents, known: Float[Tensor, "m dims"]) -> Float[Tensor, " n"]:
    """How much of what a latent says is signal: 0 where the image tells nothing, 1 where it decides.

    ``Σ s_d² r_d / Σ s_d²`` with ``r_d = s_d² / (s_d² + σ_d²)``: the reliability of each coordinate (the share of its
    variance that is not uncertainty), weighted by the variance ``s²`` of the known particles along it.
    """
    spread = known.var(0, correction=0)
    reliability = spread / (spread + latents.std.square()).clamp_min(1e-30)
    return (reliability * spread).sum(1) / spread.sum().clamp_min(1e-30)


def latent_distance(z: Float[Tensor, "n dims"], known: Float[Tensor, "m dims"]) -> Float[Tensor, " n"]:
    """Distance to the tenth nearest known particle over the median of the same among these: 1 is usual."""
    tree, k = cKDTree(known.numpy()), min(_NEIGHBOUR, len(known))
    usual = tree.query(known.numpy(), [min(k + 1, len(known))])[0]
    found = tree.query(z.numpy(), [k])[0][:, 0]
    return torch.from_numpy(found).float() / max(float(torch.from_numpy(usual).median()), 1e-12)
