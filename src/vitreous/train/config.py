"""How long to train, on what, and how often to write."""

from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """Options of the training loop."""

    steps: int = 10_000
    """Optimisation steps."""

    minutes: float | None = None
    """Stop after this time; no limit by default."""

    gradient_clip: float | None = 1.0
    """Largest norm of the gradient; none switches clipping off."""

    ema_decay: float | None = None
    """Decay per step of the running average of the parameters; none keeps no average."""

    restart_steps: int = 200
    """Steps over which the learning rate rises where the optimiser starts anew, its moments left out of an export."""

    checkpoint_minutes: float = 2.0
    """Time between checkpoints."""

    log_every: int = 50
    """Steps between lines in metrics.jsonl."""

    seed: int = 0
    """Seed of every random number."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _refuse_unless(self.steps >= 0, "--steps must not be negative", self.steps)
        _refuse_unless(self.restart_steps >= 0, "--restart-steps must not be negative", self.restart_steps)
        _refuse_unless(self.log_every >= 1, "--log-every must be at least 1", self.log_every)
        _refuse_unless(self.minutes is None or self.minutes > 0, "--minutes must be positive", self.minutes)
        decay = self.ema_decay
        _refuse_unless(decay is None or 0 < decay < 1, "--ema-decay must lie between 0 and 1", decay)


@dataclass(frozen=True)
class Hardware:
    """Where training runs.

    Attributes
    ----------
    accelerator
        ``"cpu"`` or ``"cuda"``.
    devices
        Number of processes, one per GPU (or CPU process); they share every batch.
    precision
        Number format of the forward and backward pass; the parameters stay float32.
    first_gpu
        Number of the first GPU to use.
    """

    accelerator: Literal["cpu", "cuda"] = "cpu"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    first_gpu: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _refuse_unless(self.devices >= 1, "--devices must be at least 1", self.devices)
        half_on_cpu = self.accelerator == "cpu" and self.precision == "16-mixed"
        _refuse_unless(not half_on_cpu, "--precision 16-mixed needs a GPU", self.accelerator)

    @property
    def which(self) -> int | list[int]:
        """What Lightning Fabric takes for ``devices``: a number of processes, or the GPUs' own numbers."""
        return (
            list(range(self.first_gpu, self.first_gpu + self.devices)) if self.accelerator == "cuda" else self.devices
        )


def _refuse_unless(holds: bool, what: str, found: object) -> None:  # noqa: FBT001  the condition is the point
    if not holds:
        raise ConfigError(what, found=found, remedy="Change the option")
