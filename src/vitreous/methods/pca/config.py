"""Settings of the linear baseline."""

from dataclasses import dataclass

from vitreous.errors import ConfigError


@dataclass(frozen=True)
class PcaConfig:
    """How mean and principal maps are fitted."""

    iterations: int = 12
    """Rounds of expectation and maximisation."""

    seed: int = 0
    """Seed of the random start."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.iterations < 1:
            raise ConfigError("--pca.iterations must be at least 1", found=self.iterations, remedy="Give a number")
        if self.seed < 0:
            raise ConfigError("--pca.seed must not be negative", found=self.seed, remedy="Give a number from 0 up")
