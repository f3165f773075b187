"""Classes that hold next to nothing begin again: from the images that the fullest class explains worst.

Of classes that are searched for together, one often takes two kinds of particles, when the box is made for a larger
one: their slices differ at its finest shells only. Its map becomes that of the kind that it shows better, and the other
kind's images stay for want of a better place. They are told by how little they gain at those shells.
"""

from dataclasses import dataclass

import torch

from vitreous.compute.progress import Progress
from vitreous.data import Journal
from vitreous.methods.search.abinitio import EMPTY_SHARE, AbInitio
from vitreous.methods.search.appraisal import Fit, fit_images
from vitreous.methods.search.config import SearchConfig
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Bool, Int, Map, Tensor

MOST = 6000
"""Images that are looked at, at most."""

FULL = 1.5
"""A class that holds so many times its even share of the images may hold two kinds."""

LEAVING_SHARE = 1 / 3
"""Of its images, the share that it explains worst gives the map of an empty class: nearly all of these are of the other
kind, and the more of both there are, the more the sharper map draws to itself."""

FEWEST = 200
"""Fewer images are not searched on their own."""


@dataclass(frozen=True)
class Refilling:
    """Search of maps for empty classes, in one set of images.

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

    def filled(self, maps: list[Map], number: int) -> tuple[list[Map], int]:
        """Return maps of all classes, those of empty ones searched anew, and how many were.

        One class after the other, each once at most, while there is an empty one beside one that holds much more than
        its share. ``number`` is that of the search in the log.
        """
        rows = torch.randperm(len(self.store), generator=self.generator)[:MOST].sort().values
        if len(rows) * LEAVING_SHARE < FEWEST:
            return maps, 0
        maps, fits, left = list(maps), [self._fit(rows, values) for values in maps], set(range(len(maps)))
        while left:
            chosen = torch.stack([fit.evidence for fit in fits], 1).argmax(1)
            shares = (torch.bincount(chosen, minlength=len(maps)) * len(maps) / len(rows)).tolist()
            empty, fullest = min(left, key=lambda k: shares[k]), max(range(len(maps)), key=lambda k: shares[k])
            leaving = worst_explained(fits[fullest], chosen == fullest)
            if shares[empty] >= EMPTY_SHARE or shares[fullest] < FULL or int(leaving.sum()) < FEWEST:
                break
            maps[empty] = self._map(rows[leaving], number)
            fits[empty] = self._fit(rows, maps[empty])
            left.remove(empty)
        return maps, len(maps) - len(left)

    def _fit(self, rows: Int[Tensor, " m"], values: Map) -> Fit:
        return fit_images(self.store, rows, values, self.config)

    def _map(self, rows: Int[Tensor, " m"], number: int) -> Map:
        part = self.store.subset(rows, self.config.search_radius, self.reports[0])
        run = AbInitio(part, self.config, self.diameter_px, self.generator)
        return run.run(*self.reports, number)[0]


def worst_explained(fit: Fit, members: Bool[Tensor, " m"]) -> Bool[Tensor, " m"]:
    """Those members of a class, a third of them, that it explains worst."""
    if not bool(members.any()):
        return members
    return members & (fit.deviates < fit.deviates[members].quantile(LEAVING_SHARE))
