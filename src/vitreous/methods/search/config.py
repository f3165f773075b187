"""Settings of the search engine."""

import math
from dataclasses import dataclass
from typing import get_args

from vitreous.errors import ConfigError
from vitreous.geometry.symmetry import point_group
from vitreous.reconstruct.estep import EStep

AUTO = "auto"
"""The name that stands for the point group that the map shows."""

_START_RADIUS = 6.0


@dataclass(frozen=True)
class SearchConfig:
    """Ab initio by projection matching; the defaults are right for a first run."""

    diameter_A: float | None = None
    """Diameter of the particle in Å; estimated from the images by default."""
    symmetry: str = "C1"
    """Point group imposed on the refined map, whose axes are found: C1, C4, D2, T, O, I …; auto finds the group too."""
    seed: int = 0
    """Seed of the start, the minibatches and the half-sets."""
    starts: int = 2
    """Random starts that each half-set may have, at most, before all particles are searched together."""
    start_A: float | None = None
    """Resolution in Å at which a given start (--map, --poses) is cut off; beyond it, the half-maps are independent. 30
    Å by default, or that of the fourth Fourier pixel in boxes below 120 Å."""
    iterations: int = 40
    """Stochastic iterations from the random start."""
    patience: int = 120
    """Further iterations, at most, while the images are unsure of their poses and become surer: noisy stacks."""
    minibatch: int = 300
    """Images per stochastic iteration."""
    start_radius: float = _START_RADIUS
    """First radius in Fourier pixels."""
    search_radius: float = 12.0
    """Last radius of the stochastic iterations in Fourier pixels."""
    shift_range_share: float = 0.05
    """Largest shift searched, as a share of the box side."""
    refine_iterations: int = 10
    """Largest number of refinement rounds over all images."""
    estep: EStep = "auto"
    """How poses of the grid are scored: by matrix products, or by rings, all in-plane angles at once; auto takes what
    is faster."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, by the name of their flag."""
        require_symmetry(self.symmetry)
        require_setting(0 <= self.seed < 2**63, "--seed", "0 to 2^63 - 1", self.seed)
        require_setting(1 <= self.starts <= 100, "--starts", "1 to 100", self.starts)
        require_start(self.start_A)
        require_setting(self.iterations >= 5, "--iterations", "at least 5", self.iterations)
        require_setting(self.patience >= 0, "--patience", "at least 0", self.patience)
        require_setting(self.minibatch >= 20, "--minibatch", "at least 20", self.minibatch)
        self._require_radii()
        require_setting(0 <= self.shift_range_share <= 0.25, "--shift-range-share", "0 to 0.25", self.shift_range_share)
        require_setting(self.refine_iterations >= 1, "--refine-iterations", "at least 1", self.refine_iterations)
        require_setting(self.estep in get_args(EStep), "--estep", "auto, products or rings", self.estep)
        if self.diameter_A is not None:
            require_setting(0 < self.diameter_A < math.inf, "--diameter-A", "a positive length in Å", self.diameter_A)

    def _require_radii(self) -> None:
        """Refuse a march that does not go outwards, by the name of an option that was given."""
        start, last = self.start_radius, self.search_radius
        require_setting(start >= 3, "--start-radius", "at least 3", start)
        require_setting(last <= 100, "--search-radius", "at most 100", last)
        if start == _START_RADIUS:
            between = f"more than --start-radius, which is {start:g}, at most 100"
            require_setting(start < last, "--search-radius", between, last)
        below = f"at least 3, less than --search-radius, which is {last:g}"
        require_setting(start < last, "--start-radius", below, start)


def is_auto(symmetry: str) -> bool:
    """Whether the point group is to be found."""
    return symmetry.strip().lower() == AUTO


def require_symmetry(symmetry: str) -> None:
    """Raise ConfigError unless a name is that of a point group, or ``auto``."""
    if not is_auto(symmetry):
        point_group(symmetry)


def require_start(start_A: float | None) -> None:
    """Raise ConfigError unless the resolution of a start is positive, or none is given."""
    if start_A is not None:
        require_setting(0 < start_A < math.inf, "--start-A", "a positive resolution in Å", start_A)


def require_setting(holds: object, flag: str, expected: str, found: object) -> None:
    """Raise ConfigError, by the name of the flag, unless a condition holds."""
    if not holds:
        raise ConfigError(f"{flag} is out of range", expected=expected, found=found, remedy=f"Change {flag}")
