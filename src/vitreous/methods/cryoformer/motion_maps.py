"""Where the particle moves, and which query attends to what: maps of means and variances over latents."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Volume
from vitreous.methods.cryoformer.decoders import AttendingPoints
from vitreous.methods.cryoformer.fields import DensityField, ball_of
from vitreous.methods.cryoformer.model import TrainedCryoFormer
from vitreous.typing import Float, Map

_SAMPLE = 100
ATTENTION_BOX = 64
_POINTS_AT_ONCE = 16_384

_LEAST_GATHERED = 0.01
"""Share of the most density that a query gathers for, below which what moves there says nothing."""


def motion_maps(
    model: TrainedCryoFormer, z: Float[Tensor, "n dims"], progress: Progress
) -> tuple[Mapping[str, Volume], float]:
    """Return the flexibility map and, where points attend to queries in real space, the attention maps.

    Parameters
    ----------
    model
        Trained networks.
    z
        Latents of the particles, of which about a hundred are asked.
    progress
        Shows how far it is.

    Returns
    -------
    maps, share
        ``flexibility``, the variance of the density over latents, and ``attention/query_K``, the mean over latents of
        how much of what a point gathers comes from query K, on a grid of at most 64 voxels; the first query is that of
        what moves most, for its density. ``share`` is the flexibility's sum over that of the mean squared density.
    """
    sample = z[:: max(1, len(z) // _SAMPLE)]
    mean, variance = moments_of_maps(model, sample, progress)
    share = float(variance.sum() / (variance + mean.square()).sum().clamp_min(1e-30))
    return {"flexibility": Volume(variance, model.pixel_size_A), **attention_maps(model, sample)}, share


def moments_of_maps(model: TrainedCryoFormer, z: Float[Tensor, "n dims"], progress: Progress) -> tuple[Map, Map]:
    """Mean and variance of the maps of latents, voxel by voxel, with one map in memory at a time (Welford 1962)."""
    mean = torch.zeros((model.box,) * 3)
    squares = torch.zeros_like(mean)
    for number, point in enumerate(progress.track(z, "Finding what moves", len(z)), 1):
        values = model.volume(point).values
        before = values - mean
        mean += before / number
        squares += before * (values - mean)
    return mean, squares / len(z)


def attention_maps(model: TrainedCryoFormer, z: Float[Tensor, "n dims"]) -> dict[str, Volume]:
    """Mean over latents of the softmax over the queries, one map for each, in the order of what moves there.

    That is the variance of the density over latents that a query gathers for, over the density.
    """
    field = model.network.field
    decoder = field.decoder
    if not (isinstance(field, DensityField) and isinstance(decoder, AttendingPoints)):
        return {}
    box, device = min(model.box, ATTENTION_BOX), model.network.scale.device
    ball = ball_of(box, field.radius, device)
    with torch.no_grad():
        parts = [_mean_attention(field, decoder, part, z.to(device)) for part in ball.points.split(_POINTS_AT_ONCE)]
    attention, density, variance = (torch.cat(column).cpu() for column in zip(*parts))
    gathered = attention.T @ density
    moving = attention.T @ variance / gathered.clamp_min(_LEAST_GATHERED * float(gathered.max()))
    order = torch.argsort(moving, descending=True)
    values = torch.zeros(len(order), box**3)
    values[:, ball.voxels.cpu()] = attention.T[order]
    voxel_A = model.pixel_size_A * model.box / box
    return {
        f"attention/query_{number:02d}": Volume(each.unflatten(0, (box,) * 3), voxel_A)
        for number, each in enumerate(values, 1)
    }


def _mean_attention(
    field: DensityField, decoder: AttendingPoints, points: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention ``[p, queries]`` and density ``[p]`` of points, means over latents, and the density's variance."""
    features = field.features(points[None])
    attention = torch.zeros((), device=points.device)
    densities = []
    for each in z.split(1):
        attention = attention + decoder.attention(features, each)[0] / len(z)
        densities.append(field.density(points[None], each)[0])
    found = torch.stack(densities)
    return attention, found.mean(0), found.var(0, correction=0)
