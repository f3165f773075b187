"""Learning rates that fall to 0 at the end of a training."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Annealing:
    """Rates that fall to 0 as a cosine does from 0 to half a turn.

    Attributes
    ----------
    first, last
        Steps between which they fall.
    """

    first: float = math.inf
    last: float = math.inf

    @classmethod
    def at_end_of(cls, steps: int, share: float) -> "Annealing":
        """Fall over a share of the steps, the last of them."""
        return cls(steps * (1.0 - share), float(steps)) if share > 0 else cls()

    def factor(self, step: int) -> float:
        """What rates are multiplied by."""
        if step <= self.first:
            return 1.0
        return (1 + math.cos(math.pi * min(1.0, (step - self.first) / (self.last - self.first)))) / 2
