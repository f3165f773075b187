"""Two halves of the particles, each with frames of its own, brought together by their maps."""

from dataclasses import dataclass

import torch

from vitreous.compute.progress import Progress
from vitreous.constants import FSC_TO_TRUTH
from vitreous.data import Particles, Poses, Volume
from vitreous.fourier.resize import resize_map
from vitreous.fourier.shells import crossing_shell, fsc
from vitreous.geometry.rotations import mirror_rotations
from vitreous.reconstruct.align_maps import align_maps
from vitreous.reconstruct.known_poses import back_project_halves, half_volumes
from vitreous.typing import Int

_LARGEST_BOX = 64


@dataclass(frozen=True)
class Joined:
    """All particles in the frame of the first half.

    Attributes
    ----------
    poses
        Of all particles.
    agreement_shell
        Shell, in Fourier pixels, at which the two maps stop agreeing (FSC 0.5). They share nothing but the network.
    """

    poses: Poses
    agreement_shell: float


def join_halves(particles: Particles, poses: Poses, half_sets: Int[torch.Tensor, " n"], progress: Progress) -> Joined:
    """Back-project each half in its own frame, align the second map to the first, and move its poses with it."""
    box = min(_LARGEST_BOX, particles.box)
    grids = back_project_halves(particles, poses, half_sets, "C1", progress)
    voxel_A = particles.pixel_size_A * particles.box / box
    first, second = (Volume(resize_map(v.values, box), voxel_A) for v in half_volumes(grids, particles.pixel_size_A))
    found = align_maps(second, first)
    shell = crossing_shell(fsc(found.volume.values, first.values), FSC_TO_TRUTH)
    mine = half_sets == 2
    R = poses.rotations[mine]
    moved = (mirror_rotations(R) if found.mirrored else R) @ found.rotation.to(R).T
    rotations = poses.rotations.clone()
    rotations[mine] = moved
    shifts_A = poses.shifts_A.clone()
    shifts_A[mine] += (moved @ found.translation_A.to(R))[:, :2]
    reached = float(shell) if shell is not None else box / 2 - 1
    return Joined(Poses(rotations, shifts_A), reached)
