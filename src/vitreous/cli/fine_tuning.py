"""Particle stacks with poses, beside simulated views, for the last stage of pre-training."""

from dataclasses import dataclass, replace
from pathlib import Path

from vitreous.cli.context import RunContext
from vitreous.errors import ConfigError
from vitreous.methods.fastar.curriculum import Stage
from vitreous.methods.fastar.stack_views import PosedStack

Opened = dict[str, tuple[PosedStack, PosedStack]]
"""Under the name of each stack, the part to train on and the part to judge by."""


@dataclass(frozen=True)
class StackOptions:
    """Which stacks, and how much of them."""

    stacks: tuple[Path, ...] = ()
    """Particles of asymmetric structures with right poses, .star or .cs, to train on beside simulated views."""

    stack_diameters_A: tuple[float, ...] = ()
    """Diameters of their particles in Å, in the same order; estimated from the images when not given."""

    stack_share: float = 0.5
    """Share of the batches that are cut from --stacks, unless the curriculum of --config says when."""

    held_out: float = 0.5
    """Share of each stack that is never trained on, and that the network is scored on at the end of every leg."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.stack_diameters_A and len(self.stack_diameters_A) != len(self.stacks):
            raise ConfigError(
                "--stack-diameters does not fit --stacks",
                expected=f"{len(self.stacks)} numbers",
                found=len(self.stack_diameters_A),
                remedy="Give one diameter for each stack, in the same order",
            )
        if any(not diameter > 0 for diameter in self.stack_diameters_A):
            raise ConfigError("--stack-diameters must be positive", remedy="Give them in Å")
        for flag, value in (("--stack-share", self.stack_share), ("--held-out", self.held_out)):
            if not 0 <= value < 1:
                raise ConfigError(f"{flag} must be a share below 1", found=value, remedy=f"Change {flag}")

    def opened(self, seed: int, context: RunContext) -> Opened:
        """Open the stacks and split them.

        Raises
        ------
        InputError
            Where a file cannot be read or has no poses.
        """
        from vitreous.io import open_particles
        from vitreous.reconstruct.diameter import estimate_diameter_A

        found = {}
        for number, path in enumerate(self.stacks):
            particles = open_particles(path)
            for note in particles.notes:
                context.warn(f"{path}: {note}")
            given = self.stack_diameters_A[number : number + 1]
            diameter_A, is_seen = (given[0], True) if given else estimate_diameter_A(particles)
            if not is_seen:
                context.warn(f"{path}: the images show no clear edge; a diameter of {diameter_A:.0f} Å was assumed")
            context.say(f"{path}: {len(particles)} particles, diameter {diameter_A:.0f} Å")
            name = path.stem if path.stem not in found else str(path)
            found[name] = PosedStack.of(particles, diameter_A).split(self.held_out, seed)
        return found

    def curriculum_with(self, curriculum: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Return the curriculum, with the share of --stacks in every stage where none has any."""
        if not self.stacks or any(stage.stacks > 0 for stage in curriculum):
            return curriculum
        return tuple(replace(stage, stacks=self.stack_share) for stage in curriculum)
