"""Standard views of real particles: one field in units of the diameter, whatever the box and pixel size."""

import torch
from torch import Tensor

from vitreous.data import Particles
from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.methods.fastar.optics import ring_means
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, CTF_UNKNOWN, FIELD_PER_DIAMETER, soft_disc
from vitreous.physics.ctf import ctf_half_plane, evaluate_ctf
from vitreous.physics.shifts import half_plane_phases
from vitreous.typing import Float, Int


def best_treatment(particles: Particles) -> int:
    """Flip phases where the CTF is known: of the three treatments the network errs least after it.

    Images that were multiplied by their CTF already stay so.
    """
    if particles.ctf_premultiplied:
        return CTF_MULTIPLIED
    known = bool((particles.optics.amplitude_contrast < 0.999).any())
    return CTF_FLIPPED if known else CTF_UNKNOWN


def standard_views(
    particles: Particles,
    indices: Int[Tensor, " n"],
    field_A: float,
    centres_A: Float[Tensor, "n 2"],
    treatment: int,
    *,
    box: int = 32,
    masked: bool = True,
) -> tuple[Float[Tensor, "n y x"], Float[Tensor, "n shells"]]:
    """Cut views of ``field_A`` around given centres and sample them on ``box`` pixels.

    The transform of the windowed image is evaluated exactly at the frequencies of the view, ``k / field``; nothing
    is interpolated.

    Parameters
    ----------
    particles, indices
        Which images; their background has σ = 1.
    field_A
        Side of the view; ``FIELD_PER_DIAMETER`` times the particle's diameter.
    centres_A
        Where the particle lies relative to the image's centre.
    treatment
        What to do about the CTF.
    box
        Side of the view in pixels.
    masked
        Whether to apply the mask of standard views; views that are yet to be centred are cut to the field alone.

    Returns
    -------
    images, ctf_size
        As in :class:`~vitreous.methods.fastar.views.Views`.
    """
    pixel_A, n = particles.pixel_size_A, particles.box
    optics = particles.optics.select(indices)
    transforms = rfft2_centred(particles.images(indices))
    if treatment != CTF_UNKNOWN and not particles.ctf_premultiplied:
        ctf = ctf_half_plane(optics, n, pixel_A)
        transforms = transforms * (ctf.sign() if treatment == CTF_FLIPPED else ctf)
    centred = irfft2_centred(transforms * half_plane_phases(-(centres_A / pixel_A).float(), n), n)
    images = _zoom(centred * _window(n, field_A / pixel_A, masked=masked), field_A / pixel_A, box)
    if treatment == CTF_UNKNOWN:
        return images, images.new_ones(len(images), box // 2 - 1)
    kx, ky = half_plane_indices(box)
    ctf = evaluate_ctf(optics, kx.double() / field_A, ky.double() / field_A)
    return images, ring_means(ctf.square(), box).sqrt()


def _zoom(images: Float[Tensor, "n y x"], field_px: float, box: int) -> Float[Tensor, "n v u"]:
    """Sample the central field on ``box`` pixels by its transform; white noise keeps its variance."""
    n = images.shape[-1]
    r = (torch.arange(n) - n // 2).double() / field_px
    kx = torch.arange(box // 2 + 1).double()
    ky = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64)
    across, down = (torch.polar(torch.ones(1).double(), -2 * torch.pi * k[:, None] * r) for k in (kx, ky))
    across = across * (kx[:, None] < field_px / 2)
    down = down * (ky[:, None].abs() < field_px / 2)
    rows = images @ torch.view_as_real(across).permute(1, 0, 2).flatten(1).float()  # [n, y, (kx, re/im)]
    rows = torch.view_as_complex(rows.unflatten(-1, (-1, 2)).contiguous())
    return irfft2_centred(down.to(rows.dtype) @ rows, box) * (box / field_px)


def _window(n: int, field_px: float, *, masked: bool) -> Float[Tensor, "y x"]:
    """Mask of the field on the image's own pixels."""
    axis = (torch.arange(n) - n // 2).float()
    if masked:
        return soft_disc(n, 0.48 * field_px / n, 0.06 * field_px / n)
    inside = ((axis.abs() - field_px / 2) / 2).clamp(0, 1)
    edge = 0.5 + 0.5 * torch.cos(torch.pi * inside)
    return edge[:, None] * edge


def field_of(diameter_A: float) -> float:
    """Side of the standard field of a particle, in Å."""
    return FIELD_PER_DIAMETER * diameter_A
