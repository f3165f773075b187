"""Starting maps: one of each half-set, found independently, or else one of all particles."""

import math
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from torch import Tensor

from vitreous.compute.processes import current_share
from vitreous.compute.progress import Progress
from vitreous.data import Journal, Volume
from vitreous.fourier.resize import resize_map
from vitreous.methods.search.abinitio import AbInitio
from vitreous.methods.search.appraisal import Appraisal, appraise, evidence_of_images, most_gain
from vitreous.methods.search.config import SearchConfig
from vitreous.reconstruct.align_maps import align_maps
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.half_maps import agreement_shell
from vitreous.typing import Float, Int, Map

JUDGES = 300
"""Images whose likelihood ranks the starts."""

AGREEMENT_SHARE = 0.95
"""Two searches found the same map where it agrees to this share of the search radius."""

LARGEST_LAG = 0.05
"""Share of the mean gain by which one of two maps of the same particle may lag behind the other. Good ones lie within
0.02; one whose orientations were warped by up to 20° lagged by 0.12, and agreed with the right one to every shell."""

INDEPENDENT_SHARE = 0.6
"""The halves go on with maps of their own where these agree to this share of the search radius at least.

Where both halves began with the same up to some radius, it is this share of what lies beyond.
"""

JUNK_CLASSES = 2
"""Classes beside that of the particles, for images that show nothing and for those that show something else."""

SURE_ERRORS = 3.0
"""Standard errors by which a search that came to the same map must explain images better, to be another after all."""


@dataclass(frozen=True)
class GivenStarts:
    """Two maps to begin from: each made from one half of the particles with poses that are roughly right, or one twice.

    Attributes
    ----------
    maps
        From half-set 1 and 2, in any box over the images' field; their slices have the scale of the images.
    agreement_shell
        Shell, in Fourier pixels, at which the two maps stop agreeing (FSC 0.5). The search skips the part of its
        schedule that stays below it.
    shared_radius
        Fourier pixels up to which the maps may hold the same from elsewhere; 0 where they share nothing.
    """

    maps: tuple[Volume, Volume]
    agreement_shell: float
    shared_radius: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """What one search found.

    Attributes
    ----------
    map
        In the box of the stochastic search.
    noise
        Noise power per shell.
    """

    map: Map
    noise: Float[Tensor, " s"]


@dataclass(frozen=True)
class Start:
    """What each half begins from, in one frame and of one hand.

    Attributes
    ----------
    halves
        Map and noise for half-set 1 and 2.
    agreement_shell
        Shell at which the FSC of two searches' maps, aligned over rotation, shift and hand, first falls below 0.5.
    independent
        True where each half has a map that was searched from its own particles alone; otherwise both have the same one.
    searches
        How many searches were made.
    shared_radius
        Fourier pixels up to which the halves share what they began with.
    """

    halves: tuple[Candidate, Candidate]
    agreement_shell: float
    independent: bool
    searches: int
    shared_radius: float = 0.0


@dataclass
class StartFinder:
    """Searches from random orientations, or from given maps, until two of them agree.

    Parameters
    ----------
    config
        Schedule, seed, and how many searches each half may have.
    diameter_px
        Diameter of the particle in pixels of the images.
    reports
        Progress and journal.
    """

    config: SearchConfig
    diameter_px: float
    reports: tuple[Progress, Journal]
    searches: int = field(default=0, init=False)

    def from_halves(self, stores: tuple[CoefficientStore, CoefficientStore]) -> Start | None:
        """Search each half on its own; None where no two maps of different halves agree well enough.

        The halves' searches are repeated with other seeds until two maps agree. Where they agree, but one of them
        explains the images of both halves much worse, its search was caught on the way, and that half's is repeated;
        where that does not help, both halves begin with the better map. Where both explain little, each half is
        searched for several classes, of which junk may have some.
        """
        found: tuple[list[Candidate], list[Candidate]] = ([], [])
        best: Start | None = None
        tried: Start | None = None
        searched: tuple[int, ...] = (0, 1)
        for _ in range(self.config.starts):
            for half in searched:
                found[half].append(self._search(stores[half]))
            newest = [len(candidates) - 1 for candidates in found]
            for i, j in product(range(newest[0] + 1), range(newest[1] + 1)):
                if any(number == newest[half] for half, number in enumerate((i, j)) if half in searched):
                    pair = self._pair(found[0][i], found[1][j])
                    best = pair if best is None or self._is_preferred(pair, best) else best
            if best is None or not best.independent:
                continue
            appraisals, is_same = self._appraised(stores, best), self._is_same(best.agreement_shell)
            behind = _behind(*appraisals) if is_same else None
            if behind is None:
                freed = None if best is tried else self._beside_junk(stores, appraisals)
                tried = best
                if freed is not None or is_same:
                    return freed or replace(best, searches=self.searches)
                continue
            # The other half's map stays; the one that is behind is not to be chosen again.
            ahead = best.halves[1 - behind]
            found[1 - behind][:], found[behind][:] = [ahead], []
            best, searched = self._shared(ahead, best.agreement_shell), (behind,)
        enough = best is not None and best.agreement_shell >= enough_shell(self.config.search_radius)
        return replace(best, searches=self.searches) if best is not None and enough else None

    def _is_preferred(self, pair: Start, best: Start) -> bool:
        is_first_of_its_own = not best.independent and self._is_same(pair.agreement_shell)
        return is_first_of_its_own or pair.agreement_shell > best.agreement_shell

    def _beside_junk(
        self, stores: tuple[CoefficientStore, CoefficientStore], appraisals: list[Appraisal]
    ) -> Start | None:
        """Where two maps explain little, and images are sure of it: a pair found beside maps for junk, if most gain.

        Junk that is always the same draws a single map to itself: it gains more than particles lose, and few images of
        it are enough. Among several classes, one takes it, and another is left to the particles.
        """
        if not all(one.explains_little for one in appraisals):
            return None
        pair = self._pair(*map(self._best_of_classes, stores))
        if pair.agreement_shell < enough_shell(self.config.search_radius):
            return None
        judged = self._appraised(stores, pair)
        return pair if all(most_gain(*both) for both in zip(appraisals, judged, strict=True)) else None

    def _best_of_classes(self, store: CoefficientStore) -> Candidate:
        """Of several classes searched together, the map that explains most."""
        found = self._classes(store, 1 + JUNK_CLASSES)
        return max(found, key=lambda one: appraise(store, _judges(store), one.map, self.config).explained_share)

    def _appraised(self, stores: tuple[CoefficientStore, CoefficientStore], pair: Start) -> list[Appraisal]:
        """How well either map explains images of both halves."""
        return [
            Appraisal.joined([appraise(store, _judges(store), half.map, self.config) for store in stores])
            for half in pair.halves
        ]

    def _shared(self, candidate: Candidate, agreement_shell: float) -> Start:
        """Both halves with one map."""
        halves, radius = (candidate, candidate), self.config.search_radius
        return Start(halves, agreement_shell, independent=False, searches=self.searches, shared_radius=radius)

    def from_given(self, stores: tuple[CoefficientStore, CoefficientStore], given: GivenStarts) -> Start | None:
        """Search each half from its given map; None where that leads nowhere, and is to be left.

        That is where the maps of the halves do not agree well enough, or where a search from random orientations
        explains the images better. Such a search is a control where the given maps share something: both halves may be
        led astray alike, and agree all the same.
        """
        first, second = (self._search(store, given, half) for half, store in enumerate(stores))
        pair = self._pair(first, second)
        if pair.agreement_shell < enough_shell(self.config.search_radius, given.shared_radius):
            return None
        if given.shared_radius == 0:
            return pair
        reached = 0.0
        for _ in range(self.config.starts):
            control = self._search(stores[0])
            shell = self._pair(first, control).agreement_shell
            gain = self._evidence(stores[1], control) - self._evidence(stores[1], first)
            if is_better(gain, surely=self._is_same(shell)):
                return None
            reached = max(reached, shell)
            if self._is_same(reached):
                break
        return replace(pair, agreement_shell=reached, searches=self.searches, shared_radius=given.shared_radius)

    def _is_same(self, shell: float) -> bool:
        """Whether two maps that agree up to a shell are one."""
        return shell >= AGREEMENT_SHARE * self.config.search_radius

    def from_all(self, store: CoefficientStore) -> Start:
        """Search all particles twice; both halves begin with the map that explains them better."""
        runs = [self._search(store) for _ in range(2)]
        best, other = sorted(runs, key=lambda run: -float(self._evidence(store, run).mean()))
        shell = self._pair(best, other).agreement_shell
        return self._shared(best, shell)

    def _search(self, store: CoefficientStore, given: GivenStarts | None = None, half: int = 0) -> Candidate:
        """Search from random orientations, or from the given map of a half (0 or 1)."""
        run = self._run(store)
        begin = None if given is None else resize_map(given.maps[half].values / store.disc.box, run.box)
        shell = 0.0 if given is None else given.agreement_shell
        (found,) = run.run(*self.reports, self.searches, None if begin is None else [begin], start_shell=shell)
        return Candidate(found, run.noise)

    def _classes(self, store: CoefficientStore, classes: int) -> list[Candidate]:
        """Search several classes together from random orientations."""
        run = self._run(store, classes)
        return [Candidate(found, run.noise) for found in run.run(*self.reports, self.searches)]

    def _run(self, store: CoefficientStore, classes: int = 1) -> AbInitio:
        self.searches += 1
        generator = generator_of_search(self.config.seed, self.searches)
        return AbInitio(store, self.config, self.diameter_px, generator, classes=classes)

    def _pair(self, first: Candidate, second: Candidate) -> Start:
        """Both maps in the frame of the first."""
        found, reached = in_frame_of(second.map, first.map, self.config.search_radius)
        return Start((first, Candidate(found, second.noise)), reached, independent=True, searches=self.searches)

    def _evidence(self, store: CoefficientStore, run: Candidate) -> Float[Tensor, " m"]:
        return evidence_of_images(store, _judges(store), [run.map], self.config)


def _judges(store: CoefficientStore) -> Int[Tensor, " m"]:
    return torch.arange(0, len(store), max(1, len(store) // JUDGES))


def _behind(first: Appraisal, second: Appraisal) -> int | None:
    """Which map of a pair, 0 or 1, explains the images much worse than the other, or None."""
    one, other = float(first.evidence.mean()), float(second.evidence.mean())
    if abs(one - other) <= LARGEST_LAG * max(abs(one), abs(other)):
        return None
    return 0 if one < other else 1


def generator_of_search(seed: int, number: int) -> torch.Generator:
    """Source of the random numbers of a run's search, from 1."""
    seeds = torch.Generator().manual_seed(seed)
    return torch.Generator().manual_seed(torch.randint(2**62, (number,), generator=seeds).tolist()[-1])


def enough_shell(search_radius: float, shared_radius: float = 0.0) -> float:
    """Shell to which the maps of two halves must agree, so that each half goes on with its own."""
    shared = min(shared_radius, search_radius)
    return shared + INDEPENDENT_SHARE * (search_radius - shared)


def in_frame_of(estimate: Map, target: Map, radius: float) -> tuple[Map, float]:
    """A map aligned to another over rotation, shift and hand, and the shell at which they stop agreeing (FSC 0.5).

    Maps that show nothing at all do not agree.
    """
    if not (float(estimate.std()) > 0 and float(target.std()) > 0):
        return estimate, 0.0
    found = align_maps(Volume(estimate, 1.0), Volume(target, 1.0)).volume.values
    return current_share().from_first((found, agreement_shell(found, target, radius)))


def is_better(gain: Float[Tensor, " m"], *, surely: bool) -> bool:
    """Whether images gain in log-likelihood on the mean; ``surely`` asks for three standard errors."""
    least = SURE_ERRORS * float(gain.std()) / math.sqrt(len(gain)) if surely else 0.0
    return float(gain.mean()) > least


def as_tensors(start: Start, box: int) -> dict[str, Tensor]:
    """A start as tensors to save, its maps brought to the images' box."""
    shells = min(len(half.noise) for half in start.halves)
    return {
        "map1": resize_map(start.halves[0].map, box),
        "map2": resize_map(start.halves[1].map, box),
        "noise": torch.stack([half.noise[:shells] for half in start.halves]),
        "agreement_shell": torch.tensor([start.agreement_shell]),
        "independent": torch.tensor([float(start.independent)]),
        "searches": torch.tensor([float(start.searches)]),
        "shared_radius": torch.tensor([start.shared_radius]),
    }
