"""Options that mean the same in every command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from vitreous.errors import ConfigError

Output = Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
"""Type of the field that names the output folder, given with ``-o``."""

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

NOT_SETTINGS = frozenset({"config", "debug", "overwrite", "quiet", "resume"})
"""Options of one call that a saved configuration leaves out."""


@dataclass(frozen=True)
class Basic:
    """Options of every command."""

    config: Path | None = None
    """YAML file with options, a run's manifest.yaml for example; flags override it."""

    overwrite: bool = False
    """Replace what an earlier run left at the output's place."""

    quiet: bool = False
    """No progress and no warnings on the terminal; errors only."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True)
class Common(Basic):
    """Options of every command that computes."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:N."""

    threads: int | None = None
    """CPU threads, of all processes together; all cores that the process may use when not given."""

    processes: int = 1
    """Processes that share the work; torchrun and srun start them on several machines."""

    resume: bool = False
    """Go on with an earlier run in the output folder; a finished run is left as it is."""

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if self.threads is not None and self.threads < 1:
            raise ConfigError("--threads must be at least 1", found=self.threads, remedy="Give a positive number")
        if self.processes < 1:
            raise ConfigError("--processes must be at least 1", found=self.processes, remedy="Give a positive number")
        if self.resume and self.overwrite:
            raise ConfigError("--resume and --overwrite exclude each other", remedy="Give one of them")


@dataclass(frozen=True)
class TrainingCommon(Common):
    """Options of every command that trains."""

    precision: Precision = "32-true"
    """Number format of the computation."""
