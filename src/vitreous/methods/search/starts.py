"""Two independent stochastic maps: the better one is refined, their agreement is evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.constants import FSC_TO_TRUTH
from vitreous.data import Journal, Volume
from vitreous.fourier.resize import resize_map
from vitreous.fourier.shells import crossing_shell, fsc
from vitreous.methods.search.abinitio import AbInitio
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.global_search import GridSearch
from vitreous.reconstruct.align_maps import align_maps
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Float, Map

JUDGES = 300
"""Images whose likelihood ranks the starts."""


@dataclass(frozen=True)
class GivenStarts:
    """Two maps to begin from, each made from one half of the particles with poses that are roughly right.

    Attributes
    ----------
    maps
        From half-set 1 and 2, in any box over the images' field; their slices have the scale of the images.
    agreement_shell
        Shell, in Fourier pixels, at which the two maps stop agreeing (FSC 0.5). The search skips the part of its
        schedule that stays below it.
    """

    maps: tuple[Volume, Volume]
    agreement_shell: float


@dataclass(frozen=True)
class Start:
    """The chosen map and what speaks for it.

    Attributes
    ----------
    map
        In the box of the stochastic search.
    noise
        Noise power per shell.
    agreement_shell
        Shell at which the FSC of the two maps, aligned over rotation, shift and hand, first falls below 0.5.
    """

    map: Map
    noise: Float[Tensor, " s"]
    agreement_shell: float


def find_start(
    begins: Sequence[tuple[CoefficientStore, Map | None]],
    config: SearchConfig,
    diameter_px: float,
    reports: tuple[Progress, Journal],
    *,
    start_shell: float = 0.0,
) -> Start:
    """Search twice and keep the map that explains the images better.

    Parameters
    ----------
    begins
        For each of two searches its images and the map that it begins from, None for random orientations.
    config, diameter_px
        Settings, and the diameter of the particle in pixels of the images.
    reports
        Progress and journal.
    start_shell
        Shell up to which given maps can be trusted.
    """
    seeds = torch.randint(2**62, (2,), generator=torch.Generator().manual_seed(config.seed)).tolist()
    runs = []
    judges = begins[0][0]
    for number, (seed, (store, given)) in enumerate(zip(seeds, begins), start=1):
        run = AbInitio(store, config, diameter_px, torch.Generator().manual_seed(seed))
        start = None if given is None else resize_map(given, run.box)
        values = run.run(*reports, number, start, start_shell=start_shell)
        runs.append((values, run.noise, _evidence(judges, config, values, run.noise)))
    best, other = sorted(runs, key=lambda found: -found[2])
    return Start(best[0], best[1], _agreement(other[0], best[0], config.search_radius))


def _evidence(store: CoefficientStore, config: SearchConfig, values: Map, noise: Float[Tensor, " s"]) -> float:
    """Mean log-likelihood of some images, summed over all poses of the grid, with a noise spectrum of 1."""
    sample = torch.arange(0, len(store), max(1, len(store) // JUDGES))
    search = GridSearch(
        store, resize_map(values, store.disc.box), torch.ones_like(noise), 0.75 * config.search_radius, 0.0
    )
    return float(search.run_on(sample).log_evidence.mean())


def _agreement(estimate: Map, target: Map, radius: float) -> float:
    found = align_maps(Volume(estimate, 1.0), Volume(target, 1.0))
    shell = crossing_shell(fsc(found.volume.values, target), FSC_TO_TRUTH)
    return min(radius, shell if shell is not None else radius)
