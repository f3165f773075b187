"""How well a network does on structures that it never saw."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.device import fastest_autocast
from vitreous.geometry.planar_maps import relative_rotations
from vitreous.methods.fastar.loss import rotation_errors
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.scenes import Scenes
from vitreous.methods.fastar.simulator import REFERENCE_BOX, ViewConfig, simulate_views
from vitreous.methods.fastar.views import Truth, Views

BOX_PER_FIELD = 1.125
"""Side of the 128-px box in which shifts are reported over the standard field: 1.5 particle diameters."""


@dataclass(frozen=True)
class Trial:
    """Conditions of a trial; every structure is one set of views."""

    views: int = 32
    """Views per set."""

    snr: float = 0.1
    """Signal-to-noise ratio of a 128-px image."""

    shift: float = 0.08
    """Shifts are uniform within this share of the 128-px box, each axis; they are centred before the network."""

    ctf: bool = True
    """Whether there is a CTF; phases are flipped, as ab initio does where the CTF is known."""

    seed: int = 0
    """Of everything random."""


@dataclass(frozen=True)
class Scores:
    """Errors over all views but the references, after the better hand of each set.

    Attributes
    ----------
    fnorm_mean, fnorm_median
        Frobenius norm of the error of the relative rotations; chance is about 2.3.
    median_deg
        Median angle.
    shift_px
        Mean error of the shifts in pixels of a 128-px box that is 1.5 diameters wide.
    confidence
        Mean confidence.
    """

    fnorm_mean: float
    fnorm_median: float
    median_deg: float
    shift_px: float
    confidence: float


@torch.no_grad()
def run_trial(network: PoseNetwork, scenes: Scenes, trial: Trial, base: ViewConfig | None = None) -> Scores:
    """Simulate views of structures, predict, and compare with the truth."""
    generator = torch.Generator(scenes.beads.device).manual_seed(trial.seed)
    config = replace(
        base or ViewConfig(),
        views=trial.views,
        snr=(trial.snr, trial.snr),
        ctf=trial.ctf,
        shift=trial.shift * BOX_PER_FIELD,
        treatments=(0.0, 1.0, 0.0),
        recentred=0.0,
        preferred=0.0,
        neighbours=0.0,
    )
    errors: list[Tensor] = []
    shifts: list[Tensor] = []
    confidences: list[Tensor] = []
    for chosen in torch.arange(len(scenes.beads)).split(max(1, 512 // trial.views)):
        part = Scenes(scenes.beads[chosen], scenes.weights[chosen], scenes.diameter_A[chosen])
        views, truth = simulate_views(part, config, network.config.box, generator)
        found = score_sets(network, views, truth)
        for whole, piece in zip((errors, shifts, confidences), found):
            whole.append(piece)
    e, s, c = (torch.cat([p.flatten() for p in whole]) for whole in (errors, shifts, confidences))
    degrees = torch.rad2deg(2 * torch.asin((e / 8**0.5).clamp(max=1.0)))
    return Scores(
        fnorm_mean=float(e.mean()),
        fnorm_median=float(e.median()),
        median_deg=float(degrees.median()),
        shift_px=float(s.mean()) * REFERENCE_BOX / BOX_PER_FIELD,
        confidence=float(c.mean()),
    )


def score_sets(network: PoseNetwork, views: Views, truth: Truth) -> tuple[Tensor, Tensor, Tensor]:
    """Return F-norms, shift errors (of the field) and mean confidences ``[b, n − 1]``, without the references."""
    with fastest_autocast(views.images.device):
        last = network(views)[-1]
    rotations, shifts = last.poses(network.coordinates)
    first, second = rotation_errors(rotations, relative_rotations(truth.rotations))
    better = (first.mean(1) <= second.mean(1))[:, None]
    return (
        torch.where(better, first, second),
        (shifts - truth.shifts).norm(dim=-1)[:, 1:],
        last.confidences[:, 1:].mean(-1),
    )
