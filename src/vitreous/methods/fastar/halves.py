"""Two halves of the particles, each with frames of its own, brought together by their maps."""

from dataclasses import dataclass

import torch

from vitreous.compute.progress import Progress
from vitreous.data import Particles, Poses, Volume
from vitreous.geometry.rotations import mirror_rotations
from vitreous.reconstruct.align_maps import align_maps
from vitreous.reconstruct.backprojection import solve
from vitreous.reconstruct.half_maps import agreement_shell
from vitreous.reconstruct.known_poses import back_project_halves
from vitreous.reconstruct.masks import sphere_mask
from vitreous.typing import Int

_LARGEST_RADIUS = 22.0
"""Fourier pixels up to which the maps are made: at a particle of half the box, what poses 5° off can show."""

_EDGE_VOXELS = 2.0


@dataclass(frozen=True)
class Joined:
    """All particles in the frame of the first half.

    Attributes
    ----------
    poses
        Of all particles.
    maps
        Of the two halves, in that frame, in a box that just holds their frequencies; the slices of the maps have the
        scale of the images.
    agreement_shell
        Shell, in Fourier pixels, at which the two maps stop agreeing (FSC 0.5). They share nothing but the network.
    """

    poses: Poses
    maps: tuple[Volume, Volume]
    agreement_shell: float


def join_halves(particles: Particles, poses: Poses, half_sets: Int[torch.Tensor, " n"], progress: Progress) -> Joined:
    """Back-project each half in its own frame, align the second map to the first, and move its poses with it."""
    radius = min(_LARGEST_RADIUS, particles.box / 2 - 1)
    grids = back_project_halves(particles, poses, half_sets, "C1", progress, radius=radius)
    box = grids[0].box
    voxel_A = particles.pixel_size_A * particles.box / box
    seen = sphere_mask(box, box / 2, _EDGE_VOXELS)
    first, second = (Volume(solve(grid) * particles.box * seen, voxel_A) for grid in grids)
    found = align_maps(second, first)
    mine = half_sets == 2
    R = poses.rotations[mine]
    moved = (mirror_rotations(R) if found.mirrored else R) @ found.rotation.to(R).T
    rotations = poses.rotations.clone()
    rotations[mine] = moved
    shifts_A = poses.shifts_A.clone()
    shifts_A[mine] += (moved @ found.translation_A.to(R))[:, :2]
    reached = agreement_shell(found.volume.values, first.values, radius)
    return Joined(Poses(rotations, shifts_A), (first, found.volume), reached)
