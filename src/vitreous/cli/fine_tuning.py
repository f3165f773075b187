"""Particle stacks with poses, beside simulated views, for the last stage of pre-training."""

from dataclasses import dataclass, replace
from pathlib import Path

from vitreous.cli.context import RunContext
from vitreous.data import Particles
from vitreous.errors import ConfigError, InputError
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

    def opened(self, views: int, seed: int, context: RunContext) -> Opened:
        """Open the stacks and split them.

        Parameters
        ----------
        views
            Most views in a set, which a stack must have.
        seed
            Of the split.
        context
            Where to say what was found.

        Raises
        ------
        InputError
            Where a file cannot be read, has no poses or too few particles.
        """
        found: Opened = {}
        for number, path in enumerate(self.stacks):
            particles = _with_poses(path, context)
            given = self.stack_diameters_A[number : number + 1]
            diameter_A = given[0] if given else _estimate_diameter_A(particles, path, context)
            parts = PosedStack.of(particles, diameter_A).split(self.held_out, seed)
            if len(parts[0].poses) < views:
                raise InputError(
                    "too few particles to train on",
                    expected=f"at least {views}, as many as a set has views",
                    found=len(parts[0].poses),
                    remedy="Leave the stack out, or lower --held-out",
                    path=path,
                )
            short = "/".join(path.parts[-2:])
            found[short if short not in found else str(path)] = parts
        return found

    def curriculum_with(self, curriculum: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Return the curriculum, with the share of --stacks in every stage where none has any."""
        if not self.stacks or any(stage.stacks > 0 for stage in curriculum):
            return curriculum
        return tuple(replace(stage, stacks=self.stack_share) for stage in curriculum)


def _with_poses(path: Path, context: RunContext) -> Particles:
    from vitreous.io import open_particles

    particles = open_particles(path)
    if particles.poses is None:
        raise InputError("the particles have no poses", remedy="Give a stack whose poses were refined", path=path)
    for note in particles.notes:
        context.warn(f"{path}: {note}")
    return particles


def _estimate_diameter_A(particles: Particles, path: Path, context: RunContext) -> float:
    from vitreous.reconstruct.diameter import estimate_diameter_A

    diameter_A, is_seen = estimate_diameter_A(particles)
    if is_seen:
        context.say(f"{path}: particle diameter {diameter_A:.0f} Å")
    else:
        context.warn(
            f"{path}: the images show no clear edge of the particle; a diameter of {diameter_A:.0f} Å was assumed: "
            "give --stack-diameters"
        )
    return diameter_A
