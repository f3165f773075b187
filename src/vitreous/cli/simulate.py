"""``vitreous simulate``: particle stacks with truth, from a structure or from the built-in phantom."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli.options import Basic
from vitreous.errors import ConfigError
from vitreous.simulate.config import PHANTOM, SimulationConfig, SpecimenConfig

if TYPE_CHECKING:
    from vitreous.cli.context import RunContext
    from vitreous.simulate.motions import Motion
    from vitreous.simulate.recipes import Recipe
    from vitreous.simulate.stack import Plan


Group = TypeVar("Group", SimulationConfig, SpecimenConfig)


@dataclass(frozen=True)
class Simulate:
    """Simulate a particle stack with its truth."""

    structure: Positional[Annotated[str, arg(metavar="STRUCTURE")]] = PHANTOM
    """A PDB or mmCIF file (.gz allowed), a trajectory (.npz), or phantom."""

    out: Annotated[Path | None, arg(aliases=("-o",), metavar="DIR")] = None
    """Folder for the stack, its truth and the ground-truth maps."""

    recipe: str | None = None
    """A named benchmark; other options override its settings."""

    recipes: bool = False
    """List the recipes and stop."""

    stack: OmitArgPrefixes[SimulationConfig] = field(default_factory=SimulationConfig)
    """Images, optics, views and noise."""

    specimen: OmitArgPrefixes[SpecimenConfig] = field(default_factory=SpecimenConfig)
    """Conformations and compositions."""

    threads: int | None = None
    """CPU threads; all cores that the process may use when not given."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)
    """Options of every command."""

    def run(self, context: "RunContext") -> None:
        """Plan, simulate and write."""
        from vitreous.simulate.recipes import list_recipes

        if self.recipes:
            sys.stdout.write(list_recipes())
            return
        if self.out is None:
            raise ConfigError("no output folder", remedy="Give -o DIR")
        from vitreous.compute.threads import set_threads
        from vitreous.runs.store import refuse_unusable
        from vitreous.simulate.stack import plan_simulation

        refuse_unusable(self.out, overwrite=self.common.overwrite)
        set_threads(self.threads)
        config, motion = self._resolved(context.words)
        _write(plan_simulation(motion.states(), config), self.out, self, context)

    def _resolved(self, words: Sequence[str]) -> "tuple[SimulationConfig, Motion]":
        """Lay the options over the recipe's settings."""
        from vitreous.simulate.recipes import find_recipe
        from vitreous.simulate.specimen import build_specimen

        if self.recipe is None:
            return self.stack, build_specimen(self.structure, self.specimen)
        recipe = find_recipe(self.recipe)
        _require_structure(recipe, self.structure)
        _require_mixture(recipe, self.specimen)
        specimen = _laid_over(recipe.specimen, self.specimen, words)
        return _laid_over(recipe.config, self.stack, words), build_specimen(self.structure, specimen)


def _laid_over(recipe: Group, asked: Group, words: Sequence[str]) -> Group:
    """Return a recipe's settings with those that were asked for."""
    given = {f.name: getattr(asked, f.name) for f in fields(asked) if _is_given(asked, f.name, words)}
    return replace(recipe, **given)


def _is_given(group: SimulationConfig | SpecimenConfig, name: str, words: Sequence[str]) -> bool:
    """Tell whether an option stands on the command line or differs from its default (from a file)."""
    flag = f"--{name.replace('_', '-')}"
    named = any(word == flag or word.startswith(f"{flag}=") for word in words)
    return named or getattr(group, name) != getattr(type(group)(), name)


def _require_mixture(recipe: "Recipe", specimen: SpecimenConfig) -> None:
    if recipe.is_mixture and not specimen.mixture:
        raise ConfigError(
            f"--recipe {recipe.name} needs more than one structure",
            expected=recipe.structure,
            remedy="Name the others with --mixture",
        )


def _require_structure(recipe: "Recipe", structure: str) -> None:
    if (recipe.structure is None) != (structure == PHANTOM):
        raise ConfigError(
            f"--recipe {recipe.name} is for another specimen",
            expected=recipe.structure or "phantom",
            found=structure,
            remedy="Give the structure that the recipe is for, or another recipe",
        )


def _write(plan: "Plan", out: Path, command: Simulate, context: "RunContext") -> None:
    from vitreous.compute.progress import make_progress
    from vitreous.runs.manifest import Manifest, fingerprint
    from vitreous.runs.store import RunFolder
    from vitreous.simulate.split import SPLITS
    from vitreous.simulate.stack import simulate_stack

    named = [Path(command.structure), *command.specimen.mixture, Path(plan.config.ctf), Path(plan.config.views)]
    inputs = [fingerprint(path) for path in named if path.is_file()]
    manifest = Manifest(context.name, context.command, context.config, seed=plan.config.seed, inputs=inputs)
    with RunFolder.create(out, manifest, overwrite=command.common.overwrite) as folder:
        simulated = simulate_stack(plan, folder.path, make_progress(quiet=command.common.quiet))
        folder.write_summary(_summary(plan, folder.started, context))
    context.say(
        f"{plan.config.n} particles of {plan.config.box} px, {simulated.grid.voxel_size_A:g} Å per pixel, "
        f"{len(plan.states)} state{'s' if len(plan.states) > 1 else ''}: {out / 'particles.star'}"
    )
    parts = [file.name for file in (out / f"{part}.star" for part in SPLITS) if file.exists()]
    context.say(f"with true poses: {', '.join(['truth.star', *parts])}")


def _summary(plan: "Plan", started: float, context: "RunContext") -> dict[str, object]:
    import time

    from vitreous.compute.memory import peak_memory_MB

    return {
        "verdict": "done",
        "resolution_A": plan.grid.resolution_A,
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_MB": round(peak_memory_MB()),
        "particles": plan.config.n,
        "states": len(plan.states),
        "warnings": list(context.warnings),
    }
