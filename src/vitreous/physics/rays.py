"""The real-space ray projector and its adjoint.

The map is sampled trilinearly at ``Rᵀ(x, y, z)`` and summed along lab z: an independent twin of the Fourier-slice
projector, for methods whose volumes live in real space.
"""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from vitreous.typing import Float, Images, Map, Rotations


def _sampling_grid(rotations: Rotations, box: int) -> Float[Tensor, "n z y x 3"]:
    """Coordinates of every lab voxel in the particle's frame, scaled to grid_sample's [−1, 1] (corners aligned)."""
    axis = torch.arange(box, device=rotations.device, dtype=rotations.dtype) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    particle = torch.einsum("nji,zyxj->nzyxi", rotations, torch.stack([x, y, z], -1))
    return (particle + box // 2) * (2 / (box - 1)) - 1


def project_rays(values: Map, rotations: Rotations, samples: Float[Tensor, "n z y x 3"] | None = None) -> Images:
    """Project a map ``[z, y, x]`` along lab z after rotating it; ``[n, box, box]``, differentiable in both.

    What a rotation moves out of the box is lost. ``samples`` overrides the sampling grid of :func:`_sampling_grid`.
    """
    grid = _sampling_grid(rotations, values.shape[-1]) if samples is None else samples
    volume = values.expand(len(rotations), 1, *values.shape)
    turned = grid_sample(volume, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return turned[:, 0].sum(1)


def backproject_rays(images: Images, rotations: Rotations) -> Map:
    """Adjoint of :func:`project_rays`: smear every image along its ray and sum, ``[z, y, x]``."""
    box = images.shape[-1]
    probe = images.new_zeros(box, box, box, requires_grad=True)
    with torch.enable_grad():
        projected = project_rays(probe, rotations)
    (total,) = torch.autograd.grad(projected, probe, images)
    return total
