"""How well a map of the stochastic search explains images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.fourier.resize import resize_map
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.explained import powers_at, share_of
from vitreous.methods.search.global_search import GlobalPoses, GridSearch
from vitreous.methods.search.junk import gains_at
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.target import Target
from vitreous.typing import Float, Int, Map

RADIUS_SHARE = 0.75
"""Radius at which a map is judged, over that to which it was searched."""

OUTER_SHARE = 0.6
"""Shells beyond this share of the search radius tell particles of one size apart."""

CANDIDATES = 8
"""Poses of an image that are polished to find out how well a map explains it; its own pose matters less than which map
that is."""

LITTLE_EXPLAINED = 0.65
"""Maps that explain less than this share of what images show above their background may be those of a kind of junk:
right ones of five complexes at an SNR of 0.1 explained 0.77 to 0.96 at this stage, with a fifth of junk 0.66 to 0.89,
and wrong ones 0.43 to 0.5 …"""

SURE_POSES = 20.0
"""… where the median image fits fewer poses of the grid than this: in more noise, a true map explains little, too."""

SURE_ERRORS = 2.0


@dataclass(frozen=True)
class Appraisal:
    """What a map explains of some images.

    Attributes
    ----------
    evidence
        Log-likelihood of each image, summed over the poses of the grid, with a noise spectrum of 1.
    powers
        Sums over all images, as :func:`vitreous.methods.search.explained.powers_at` gives them.
    effective_poses
        How many poses of the grid share each image's weight.
    """

    evidence: Float[Tensor, " m"]
    powers: Float[Tensor, "3"]
    effective_poses: Float[Tensor, " m"]

    @property
    def explained_share(self) -> float:
        """Share of the images' power above the background; NaN where there is none."""
        return share_of(self.powers)

    @property
    def explains_little(self) -> bool:
        """Whether images fit the map, and it explains little of them all the same."""
        return self.explained_share < LITTLE_EXPLAINED and float(self.effective_poses.median()) < SURE_POSES

    @staticmethod
    def joined(parts: Sequence["Appraisal"]) -> "Appraisal":
        """One for the images of all parts."""
        return Appraisal(
            torch.cat([part.evidence for part in parts]),
            torch.stack([part.powers for part in parts]).sum(0),
            torch.cat([part.effective_poses for part in parts]),
        )


def appraise(store: CoefficientStore, rows: Int[Tensor, " m"], values: Map, config: SearchConfig) -> Appraisal:
    """Search some images against a map in any box over their field, and say how well it explains them."""
    found, target = _searched(store, rows, values, config)
    powers = powers_at(store, rows, (found.rotations, found.shifts_px), target)
    return Appraisal(found.log_evidence, powers, found.effective_poses)


def evidence_of_images(
    store: CoefficientStore, rows: Int[Tensor, " m"], maps: Sequence[Map], config: SearchConfig
) -> Float[Tensor, " m"]:
    """Log-likelihood of some images, summed over maps and poses of the grid, with a noise spectrum of 1."""
    return torch.stack([_searched(store, rows, one, config)[0].log_evidence for one in maps]).logsumexp(0)


def most_gain(before: Appraisal, after: Appraisal) -> bool:
    """Whether more than half of the same images are likelier under another map, by two standard errors."""
    gaining = float((after.evidence > before.evidence).float().mean())
    return gaining > 0.5 + SURE_ERRORS * 0.5 / math.sqrt(len(before.evidence))


@dataclass(frozen=True)
class Fit:
    """How well each of some images fits a class.

    Attributes
    ----------
    evidence
        Log-likelihood, summed over the poses of the grid, with a noise spectrum of 1.
    deviates
        How far the gain lies below that of a projection of the map at the best pose, in standard deviations, by the
        outer shells: low ones look alike in all particles of a size.
    """

    evidence: Float[Tensor, " m"]
    deviates: Float[Tensor, " m"]


def fit_images(store: CoefficientStore, rows: Int[Tensor, " m"], values: Map, config: SearchConfig) -> Fit:
    """Search some images against the map of a class, in any box over their field."""
    radius = min(config.search_radius, float(store.disc.radius[-1]))
    found, target = _searched(store, rows, values, config, fine_radius=radius)
    poses = (found.rotations, found.shifts_px)
    deviates, _ = gains_at(store, rows, poses, target, beyond=OUTER_SHARE * radius)
    return Fit(found.log_evidence, deviates)


def _searched(
    store: CoefficientStore,
    rows: Int[Tensor, " m"],
    values: Map,
    config: SearchConfig,
    *,
    fine_radius: float | None = None,
) -> tuple[GlobalPoses, Target]:
    """Poses of some images, and what they were last polished against."""
    white = torch.ones(int(store.disc.shell[-1]) + 1)
    reach = (RADIUS_SHARE * config.search_radius, config.shift_range_share)
    inside = resize_map(values, store.disc.box)
    search = GridSearch(store, inside, white, *reach, fine_radius=fine_radius, most_candidates=CANDIDATES)
    return search.run_on(rows), search.targets[-1]
