"""The composed image model: rotate and project, apply the CTF, shift; then noise."""

import torch
from torch import Tensor

from vitreous.data import Optics, Poses
from vitreous.fourier.transform import irfft2_centred
from vitreous.physics.ctf import ctf_half_plane
from vitreous.physics.shifts import half_plane_phases
from vitreous.physics.slices import FourierVolume
from vitreous.typing import Images, ImagesFT, Shifts


def render_transforms(volume: FourierVolume, poses: Poses, optics: Optics, pixel_size_A: float) -> ImagesFT:
    """Half-plane transforms of noise-free images: ``CTF · exp(−2πi k·t) · F(Rᵀk)``.

    Differentiable in the volume, the poses and the optics.
    """
    shifts_px: Shifts = poses.shifts_A.to(poses.rotations) / pixel_size_A
    slices = volume.slices(poses.rotations)
    ctf = ctf_half_plane(optics, volume.box, pixel_size_A).to(slices.device)
    return slices * half_plane_phases(shifts_px, volume.box) * ctf


def render(volume: FourierVolume, poses: Poses, optics: Optics, pixel_size_A: float) -> Images:
    """Noise-free images ``[n, box, box]`` of particles with the given poses and optics."""
    return irfft2_centred(render_transforms(volume, poses, optics, pixel_size_A), volume.box)


def add_noise(images: Images, sigma: float, generator: torch.Generator) -> Tensor:
    """Return images plus white Gaussian noise of standard deviation ``sigma``."""
    return images + sigma * torch.randn(images.shape, generator=generator, dtype=images.dtype)
