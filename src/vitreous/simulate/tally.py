"""A count of what every rule of a curation took."""

from dataclasses import dataclass, field
from typing import final

_UNITS = ("structures", "chains", "residues", "atoms")


@final
@dataclass
class Tally:
    """Counts by rule, in the order in which the rules were announced or first took something.

    Attributes
    ----------
    counts
        For every rule how many structures, chains, residues and atoms it took.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def announce(self, *rules: str) -> None:
        """List rules, so that those that take nothing stand in the table too."""
        for rule in rules:
            self.count(rule, n=0)

    def count(self, rule: str, unit: str = "structures", n: int = 1) -> None:
        """Add ``n`` structures, chains, residues or atoms to what a rule took."""
        self.counts.setdefault(rule, dict.fromkeys(_UNITS, 0))[unit] += n

    def of(self, rule: str, unit: str = "structures") -> int:
        """Return how many a rule took."""
        return self.counts[rule][unit] if rule in self.counts else 0

    def table(self) -> str:
        """Return the counts as text, one rule a line."""
        width = max(map(len, self.counts), default=0)
        head = f"{'rule':<{width}}" + "".join(f"{unit:>12}" for unit in _UNITS)
        rows = [
            f"{rule:<{width}}" + "".join(f"{n or '':>12}" for n in row.values()) for rule, row in self.counts.items()
        ]
        return "\n".join([head, *rows])
