"""What is added to latents so that people can look at them: clusters, confidence, maps along the way."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.analysis.embedding import along_axis, k_means, latent_confidence, nearest_rows, principal_axes
from vitreous.analysis.trajectories import evenly_along, graph_path
from vitreous.analysis.umap_plane import require_umap, umap_plane
from vitreous.compute.progress import Progress
from vitreous.data import Latents, LatentVolume, Result, Volume
from vitreous.errors import ConfigError
from vitreous.typing import Float

_STEPS = 5


@dataclass(frozen=True)
class DescriptionConfig:
    """Which clusters and maps show the latents."""

    clusters: int = 10
    """Maps at the centres of so many clusters of the latents (at the particle nearest to each)."""

    components: int = 2
    """Principal components of the latents along which maps are made, five on each."""

    umap: bool = False
    """Also place the particles in the plane of UMAP (needs the package umap-learn)."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        for flag, value, low in (("--clusters", self.clusters, 1), ("--components", self.components, 0)):
            if value < low:
                raise ConfigError(f"{flag} must be at least {low}", found=value, remedy=f"Change {flag}")
        if self.umap:
            require_umap()


def describe(result: Result, config: DescriptionConfig, decode: Callable[[Tensor], Volume], work: Progress) -> Result:
    """Return a result with clusters, confidence, a UMAP plane where it is wanted, and maps of :func:`shown_points`.

    Parameters
    ----------
    result
        With latents and their standard deviations.
    config
        What to add.
    decode
        Makes the map of a latent.
    work
        Shows how far it is.
    """
    if result.latents is None or result.latent_std is None:
        message = "there are no latents to describe"
        raise ValueError(message)
    z = result.latents
    centres, labels = k_means(z, config.clusters, torch.Generator().manual_seed(0))
    points = {f"kmeans_{k + 1:02d}": z[row] for k, row in enumerate(nearest_rows(z, centres).tolist())}
    points |= shown_points(z, config.components)
    named = work.track(points.items(), "Decoding maps", len(points))
    confidence = latent_confidence(Latents(z, result.latent_std), z)
    plane = dict(zip(("umap_1", "umap_2"), umap_plane(z).unbind(1))) if config.umap else {}
    shares = principal_axes(z).shares[: config.components]
    return replace(
        result,
        classes=labels + 1,
        scores={**result.scores, "latent_confidence": confidence, **plane},
        latent_volumes=tuple(LatentVolume(name, point, decode(point)) for name, point in named),
        metrics={
            **result.metrics,
            **{f"component_{i + 1}_share": float(share) for i, share in enumerate(shares)},
            "mean_latent_confidence": float(confidence.mean()),
        },
    )


def shown_points(z: Float[Tensor, "n dims"], components: int) -> dict[str, Float[Tensor, " dims"]]:
    """Name five points on each principal component, and five along the particles between the ends of the first."""
    points: dict[str, Tensor] = {}
    axes = principal_axes(z)
    for number in range(min(components, len(axes.axes))):
        along = along_axis(z, axes, number, _STEPS)
        points |= {f"pc{number + 1}_{step + 1}": point for step, point in enumerate(along)}
    if components:
        start, end = ends(z)
        way = z[graph_path(z, start, end, torch.Generator().manual_seed(0))]
        if len(way) > 1:
            points |= {f"path_{step + 1}": point for step, point in enumerate(evenly_along(way, _STEPS))}
    return points


def ends(z: Float[Tensor, "n dims"]) -> tuple[int, int]:
    """Return the rows of the particles nearest to the tails of the first principal component."""
    start, end = nearest_rows(z, along_axis(z, principal_axes(z), 0, 2)).tolist()
    return start, end
