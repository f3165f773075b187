"""Starting maps of several classes: found in each half-set on its own, then matched."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Journal
from vitreous.fourier.resize import resize_map
from vitreous.methods.search.abinitio import AbInitio, variant_of
from vitreous.methods.search.appraisal import evidence_of_images
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.refilling import Refilling
from vitreous.methods.search.starts import enough_shell, generator_of_search, in_frame_of, is_better
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Float, Map

JUDGES = 150
"""Images of each half whose likelihood ranks the two halves' classes."""

_Found = tuple[list[Map], Float[Tensor, " s"]]
"""Maps of all classes, and noise power per shell."""


@dataclass(frozen=True)
class GivenClasses:
    """Maps that the classes of both halves begin from.

    Attributes
    ----------
    maps
        One per class, or one for all, in the images' box; their slices have the scale of the images.
    shared_radius
        Fourier pixels up to which they hold anything.
    """

    maps: Sequence[Map]
    shared_radius: float


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
        Shell at which the two halves' maps of a class stop agreeing (FSC 0.5), and those of the control where maps were
        given. Halves that agree to less than :func:`enough_shell` both begin with the map of the half whose classes
        explain the images better.
    revivals
        How often an empty class was begun again.
    shared_radius
        Fourier pixels up to which the halves share what they began with.
    """

    maps: Float[Tensor, "2 c z y x"]
    noise: Float[Tensor, " s"]
    agreement_shells: Float[Tensor, " c"]
    revivals: int
    shared_radius: float = 0.0


@dataclass
class ClassFinder:
    """Searches halves of the particles for all classes at once.

    Parameters
    ----------
    config, diameter_px
        Schedule and seed, and the diameter of the particle in pixels of the images.
    reports
        Progress and journal.
    classes
        Number of classes.
    """

    config: SearchConfig
    diameter_px: float
    reports: tuple[Progress, Journal]
    classes: int
    searches: int = field(default=0, init=False)
    revivals: int = field(default=0, init=False)

    def from_halves(self, stores: tuple[CoefficientStore, CoefficientStore]) -> ClassStarts:
        """Search each half on its own, then match the classes of the second to those of the first."""
        return self._joined(stores, [self._search(store) for store in stores], 0.0)

    def from_given(self, stores: tuple[CoefficientStore, CoefficientStore], given: GivenClasses) -> ClassStarts | None:
        """Search each half from given maps; None where random orientations lead to what explains the images better.

        A search of half-set 1 from random orientations is the control: given maps may lead both halves astray alike.
        """
        found = [self._search(store, given) for store in stores]
        control = self._search(stores[0])
        _, shells = _matched(found[0][0], control[0], self.config.search_radius)
        missed = float(shells.min()) < enough_shell(self.config.search_radius, given.shared_radius)
        gain = self._evidence(stores[1], control[0]) - self._evidence(stores[1], found[0][0])
        if is_better(gain, surely=not missed):
            return None
        joined = self._joined(stores, found, given.shared_radius)
        return replace(joined, agreement_shells=torch.minimum(joined.agreement_shells, shells))

    def _search(self, store: CoefficientStore, given: GivenClasses | None = None) -> _Found:
        self.searches += 1
        generator = generator_of_search(self.config.seed, self.searches)
        run = AbInitio(store, self.config, self.diameter_px, generator, classes=self.classes)
        if given is None:
            together = run.run(*self.reports, self.searches)
            refilling = Refilling(store, self.config, self.diameter_px, self.reports, generator)
            maps, refilled = refilling.filled(together, self.searches)
            self.revivals += refilled
        else:
            begin = [resize_map(values, run.box) for values in given.maps]
            begin = [variant_of(begin[0], generator) for _ in range(self.classes)] if len(begin) == 1 else begin
            maps = run.run(*self.reports, self.searches, begin, start_shell=given.shared_radius)
        self.revivals += run.revivals
        return maps, run.noise

    def _joined(
        self, stores: tuple[CoefficientStore, CoefficientStore], found: Sequence[_Found], shared_radius: float
    ) -> ClassStarts:
        (first, noise1), (second, noise2) = found
        likelier = int(self._evidence_of_both(stores, second) > self._evidence_of_both(stores, first))
        pairs, shells = _matched(first, second, self.config.search_radius)
        enough = enough_shell(self.config.search_radius, shared_radius)
        kept = [pair if shell >= enough else (pair[likelier],) * 2 for pair, shell in zip(pairs, shells, strict=True)]
        maps = torch.stack([torch.stack([pair[half] for pair in kept]) for half in (0, 1)])
        return ClassStarts(maps, torch.stack([noise1, noise2]).mean(0), shells, self.revivals, shared_radius)

    def _evidence_of_both(self, stores: tuple[CoefficientStore, CoefficientStore], maps: list[Map]) -> float:
        return sum(float(self._evidence(store, maps).mean()) for store in stores)

    def _evidence(self, store: CoefficientStore, maps: list[Map]) -> Float[Tensor, " m"]:
        """Log-likelihood of some images under a set of classes."""
        sample = torch.arange(0, len(store), max(1, len(store) // JUDGES))[:JUDGES]
        return evidence_of_images(store, sample, maps, self.config)


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
