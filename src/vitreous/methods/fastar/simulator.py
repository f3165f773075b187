"""Sets of standard views simulated on the fly, on whatever device the generator is on."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.centring import centre_shifts, shift_phases
from vitreous.methods.fastar.optics import OpticsRange, ring_means
from vitreous.methods.fastar.scenes import Scenes
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, FIELD_PER_DIAMETER, Truth, Views, soft_disc
from vitreous.simulate.bead_views import project_beads

REFERENCE_BOX = 128
"""Signal-to-noise ratios are those of an image of this box; the standard view's is higher by the ratio of pixels."""


@dataclass(frozen=True)
class ViewConfig:
    """How views are simulated; ranges are drawn log-uniformly, once per set.

    In pre-training the curriculum sets ``views``, ``snr``, ``ctf`` and ``shift``.
    """

    views: int = 8
    """Views per set, the reference included."""

    snr: tuple[float, float] | None = (0.05, 3.0)
    """Signal-to-noise ratio of a 128-px image; none makes clean views."""

    ctf: bool = True
    """Whether a CTF is applied (and then left, phase-flipped or multiplied)."""

    shift: float = 0.09
    """Shifts before centring are uniform within this, each axis, in units of the field."""

    recentred: float = 0.4
    """Share of sets that are centred as if by an earlier prediction, to 0.2–2 % of the field, not by correlation."""

    size: tuple[float, float] = (0.85, 1.2)
    """True over stated diameter."""

    preferred: float = 0.2
    """Share of sets with preferred orientations."""

    treatments: tuple[float, float, float] = (0.2, 0.6, 0.2)
    """Shares of sets whose CTF is left alone, phase-flipped (as inference does), multiplied."""

    neighbours: float = 0.1
    """Share of views into which another particle reaches, centred 0.8–1.2 diameters away."""

    beads: int = 240
    """Points that a structure is made of."""

    optics: OpticsRange = field(default_factory=OpticsRange)
    """Distribution of microscope and defocus."""


def simulate_views(scenes: Scenes, config: ViewConfig, box: int, generator: torch.Generator) -> tuple[Views, Truth]:
    """Project structures into standard views with shifts, CTF and noise.

    Parameters
    ----------
    scenes
        One structure per set, ``b`` of them.
    config
        What is applied.
    box
        Side of a view in pixels.
    generator
        Source of all randomness; its device is where the work is done.
    """
    b, n = len(scenes.beads), config.views
    rotations = draw_rotations(b, n, config.preferred, generator)
    shifts = config.shift * (2 * _uniform((b, n, 2), generator) - 1)
    scale = _log_uniform(b, config.size, generator)
    beads = scenes.beads * scale[:, None, None]
    signal = project_beads(beads, scenes.weights, rotations, shifts, box) * _envelope(b, box, generator)
    signal = _with_neighbours(signal, config.neighbours, generator)
    signal[..., 0, 0] = 0
    ctf = None
    if config.ctf:
        ctf = config.optics.draw(b, n, generator).ctf(scenes.diameter_A * FIELD_PER_DIAMETER / scale, box)
        signal = signal * ctf
    images, treatment = _finished(signal, ctf, config, generator)
    size = images.new_ones(b, n, box // 2 - 1) if ctf is None else ring_means(ctf.square(), box).sqrt()
    size = torch.where((treatment > 0)[:, None, None], size, 1.0)
    centres = _centres(images, shifts, config, generator)
    images = irfft2_centred(rfft2_centred(images) * shift_phases(-centres, box), box)
    return Views(images * soft_disc(box).to(images), size, treatment), Truth(rotations, shifts - centres)


def _centres(images: Tensor, shifts: Tensor, config: ViewConfig, generator: torch.Generator) -> Tensor:
    """Return where the views are thought to be centred: as found, or near the truth in some sets."""
    found = centre_shifts(images)
    b = len(images)
    near = shifts + _log_uniform(b, (0.002, 0.02), generator)[:, None, None] * _normal(shifts.shape, generator)
    return torch.where(_uniform((b, 1, 1), generator) < config.recentred, near, found)


def _finished(
    signal: Tensor, ctf: Tensor | None, config: ViewConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scale to the noise, add it, and treat the CTF in one of three ways; return images and treatments."""
    b, box = len(signal), signal.shape[2]
    clean = irfft2_centred(signal, box)
    deviation = clean.var((2, 3)).mean(1).clamp_min(1e-20).sqrt()
    if config.snr is None:
        images = clean * (100.0 / deviation)[:, None, None, None]
    else:
        snr = _log_uniform(b, config.snr, generator) * (REFERENCE_BOX / box) ** 2
        images = clean * (snr.sqrt() / deviation)[:, None, None, None] + _normal(clean.shape, generator)
    below = torch.tensor(config.treatments, device=generator.device).cumsum(0)
    treatment = (_uniform((b, 1), generator) * below[2] >= below[:2]).sum(1)
    if ctf is None:
        return images, torch.zeros_like(treatment)
    code = treatment[:, None, None, None]
    factor = torch.where(
        code == CTF_MULTIPLIED, ctf, torch.where(code == CTF_FLIPPED, ctf.sign(), torch.ones_like(ctf))
    )
    return irfft2_centred(rfft2_centred(images) * factor, box), treatment


def draw_rotations(b: int, n: int, preferred: float, generator: torch.Generator) -> Tensor:
    """Draw uniform rotations ``[b, n, 3, 3]``; a share of the sets prefers views along one random axis."""
    rotations = random_rotations(b * n, generator).unflatten(0, (b, n))
    axis = F.normalize(_normal((b, 1, 3), generator), dim=-1)
    strength = 2.5 * _uniform((b, 1, 1), generator) * (_uniform((b, 1, 1), generator) < preferred)
    beam = F.normalize(F.normalize(_normal((b, n, 3), generator), dim=-1) + strength * axis, dim=-1)
    across = F.normalize(torch.linalg.cross(rotations[..., 0, :], beam), dim=-1)
    biased = torch.stack([torch.linalg.cross(across, beam), across, beam], -2)
    return torch.where(strength[..., None] > 0, biased, rotations)


def _envelope(b: int, box: int, generator: torch.Generator) -> Tensor:
    """Return random Gaussian fall-offs ``[b, 1, y, half_x]``: B-factors and the size of a point."""
    kx, ky = half_plane_indices(box, generator.device)
    rate = 0.03 * _uniform((b, 1, 1, 1), generator)
    return torch.exp(-rate * (kx.square() + ky.square()) / 4)


def _with_neighbours(signal: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Add the next view's particle, centred outside, to some views: what of it reaches in."""
    if share == 0:
        return signal
    b, n, box = signal.shape[:3]
    angle = 2 * torch.pi * _uniform((b, n, 1), generator)
    distance = 0.6 + 0.3 * _uniform((b, n, 1), generator)
    place = distance * torch.cat([angle.cos(), angle.sin()], -1)
    near = _uniform((b, n, 1, 1), generator) < share
    moved = irfft2_centred(signal.roll(1, 1) * shift_phases(place, box), box)
    # Shifts are periodic: what leaves the field on one side comes back on the other, and is cut off.
    axis = (torch.arange(box, device=signal.device) - box // 2) / box
    reached = (axis - place[..., None]).abs() <= 0.5
    return signal + rfft2_centred(moved * (reached[..., 1, :, None] & reached[..., 0, None, :] & near))


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _normal(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _log_uniform(n: int, limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = limits
    return low * (high / low) ** _uniform((n,), generator)
