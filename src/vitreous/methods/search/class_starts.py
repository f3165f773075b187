"""Starting maps of several classes: found in each half-set on its own, then matched."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Journal
from vitreous.methods.search.abinitio import AbInitio
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.starts import INDEPENDENT_SHARE, in_frame_of, mean_evidence
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Float, Map

JUDGES = 150
"""Images of each half whose likelihood ranks the two halves' classes."""


@dataclass(frozen=True)
class ClassStarts:
    """What the classes begin with in each half.

    Attributes
    ----------
    maps
        ``[2, c, z, y, x]`` in the box of the stochastic search: class c of half-set 1 and of 2, in one frame.
    noise
        Noise power per shell.
    agreement_shells
        Shell at which the two halves' maps of a class stop agreeing (FSC 0.5); below ``INDEPENDENT_SHARE`` of the
        search radius both halves begin with the map of the half whose classes explain the images better.
    revivals
        How often an empty class was begun again.
    """

    maps: Float[Tensor, "2 c z y x"]
    noise: Float[Tensor, " s"]
    agreement_shells: Float[Tensor, " c"]
    revivals: int


def find_classes(
    stores: tuple[CoefficientStore, CoefficientStore],
    config: SearchConfig,
    diameter_px: float,
    reports: tuple[Progress, Journal],
    *,
    classes: int,
) -> ClassStarts:
    """Search each half for its classes, then match those of the second half to those of the first.

    Parameters
    ----------
    stores
        Images of half-set 1 and 2.
    config, diameter_px
        Schedule and seed, and the diameter of the particle in pixels of the images.
    reports
        Progress and journal.
    classes
        Number of classes.
    """
    seeds = torch.randint(2**62, (2,), generator=torch.Generator().manual_seed(config.seed)).tolist()
    found, noises, revivals = [], [], 0
    for number, (store, seed) in enumerate(zip(stores, seeds, strict=True), start=1):
        run = AbInitio(store, config, diameter_px, torch.Generator().manual_seed(seed), classes=classes)
        found.append(run.run(*reports, number))
        noises.append(run.noise)
        revivals += run.revivals
    likelier = int(_evidence(stores, found[1], config) > _evidence(stores, found[0], config))
    pairs, shells = _matched(found[0], found[1], config.search_radius)
    enough = INDEPENDENT_SHARE * config.search_radius
    kept = [pair if shell >= enough else (pair[likelier],) * 2 for pair, shell in zip(pairs, shells, strict=True)]
    maps = torch.stack([torch.stack([pair[half] for pair in kept]) for half in (0, 1)])
    return ClassStarts(maps, torch.stack(noises).mean(0), shells, revivals)


def _evidence(stores: tuple[CoefficientStore, CoefficientStore], maps: list[Map], config: SearchConfig) -> float:
    """Mean log-likelihood of some images of each half under a set of classes, added up."""
    samples = [torch.arange(0, len(store), max(1, len(store) // JUDGES))[:JUDGES] for store in stores]
    return sum(mean_evidence(*judges, maps, config.search_radius) for judges in zip(stores, samples, strict=True))


def _matched(first: list[Map], second: list[Map], radius: float) -> tuple[list[tuple[Map, Map]], Float[Tensor, " c"]]:
    """Pairs of maps of the two halves, the second in the frame of the first, and how far each pair agrees.

    The assignment makes the sum of the shells largest.
    """
    from scipy.optimize import linear_sum_assignment

    shells = np.zeros((len(first), len(second)))
    moved: dict[tuple[int, int], Map] = {}
    for i, target in enumerate(first):
        for j, estimate in enumerate(second):
            moved[i, j], shells[i, j] = in_frame_of(estimate, target, radius)
    rows, columns = linear_sum_assignment(-shells)
    agreement = torch.tensor(shells[rows, columns], dtype=torch.float32)
    return [(first[i], moved[i, j]) for i, j in zip(rows.tolist(), columns.tolist(), strict=True)], agreement
