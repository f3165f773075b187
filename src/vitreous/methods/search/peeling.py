"""Maps of a mixture, one after the other: each from the images that those before explain worst.

Searched for together, classes of unequal strength end badly: the strongest particle's class is sharp first, and all
weak particles then share what is left, or one class takes them all. One after the other, each search has one particle
that dominates it.
"""

from dataclasses import dataclass

import torch

from vitreous.compute.progress import Progress
from vitreous.data import Journal
from vitreous.fourier.resize import resize_map
from vitreous.methods.search.abinitio import AbInitio, variant_of
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.global_search import GridSearch
from vitreous.methods.search.junk import deviates_at, fitted_mixture
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Float, Int, Map, Tensor

LEAST_SHARE = 0.1
"""Images that a map does not explain are the next ones to be searched where they are so many; otherwise the half of
them is that it explains worst."""

MOST = 6000
"""Images that the first map is searched from, at random no more than so many: later ones get what is left of them."""

FEWEST = 200
"""Fewer images are not searched on their own: the next map is a variant of the last one."""

CANDIDATES = 8
"""Poses of an image that are polished to find out how well a map explains it; its own pose matters less than which map
that is."""


@dataclass(frozen=True)
class Peeling:
    """Search for several maps in one set of images.

    Attributes
    ----------
    store
        Coefficients out to the search radius.
    config, diameter_px
        Schedule, and diameter of the largest particle in pixels.
    reports
        Progress and journal.
    generator
        Of the random numbers.
    """

    store: CoefficientStore
    config: SearchConfig
    diameter_px: float
    reports: tuple[Progress, Journal]
    generator: torch.Generator

    def maps(self, classes: int, number: int) -> list[Map]:
        """Return one map per class; ``number`` is that of the search in the log."""
        rows = torch.randperm(len(self.store), generator=self.generator)[:MOST].sort().values
        found: list[Map] = []
        while len(found) < classes:
            if found and len(rows) < FEWEST:
                found.append(variant_of(found[-1], self.generator))
                continue
            found.append(self._map(rows, number))
            if len(found) < classes:
                rows = rows[self._unexplained(rows, found[-1])]
        return found

    def _map(self, rows: Int[Tensor, " m"], number: int) -> Map:
        part = self.store.subset(rows, self.config.search_radius, self.reports[0])
        run = AbInitio(part, self.config, self.diameter_px, self.generator)
        return run.run(*self.reports, number)[0]

    def _unexplained(self, rows: Int[Tensor, " m"], values: Map) -> Tensor:
        """Which images the next map is searched from."""
        deviates = self._deviates(rows, resize_map(values, self.store.disc.box))
        others = fitted_mixture(deviates).probability(deviates) > 0.5
        return others if float(others.float().mean()) >= LEAST_SHARE else deviates < deviates.median()

    def _deviates(self, rows: Int[Tensor, " m"], values: Map) -> Float[Tensor, " m"]:
        """How far the gain of each image lies below that of a projection of the map, at its best pose on the grid."""
        white = torch.ones(int(self.store.disc.shell[-1]) + 1)
        reach = (self.config.search_radius, self.config.shift_range_share)
        search = GridSearch(self.store, values, white, *reach, most_candidates=CANDIDATES)
        found = search.run_on(rows)
        return deviates_at(self.store, rows, (found.rotations, found.shifts_px), search.targets[-1])
