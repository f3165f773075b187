"""Named simulations for demos and benchmarks: a name means the same specimen and settings for ever."""

from dataclasses import dataclass

import torch

from vitreous.errors import ConfigError
from vitreous.simulate.config import SimulationConfig


@dataclass(frozen=True)
class Recipe:
    """A specimen and the settings of its stack.

    Attributes
    ----------
    name, summary
        What it is called and what it is for.
    config
        The settings.
    hinge_angles_deg
        Angles of the phantom's hinge; empty for a rigid phantom and for structures.
    structure
        Which model the recipe expects (the user brings the file), None for the phantom.
    """

    name: str
    summary: str
    config: SimulationConfig
    hinge_angles_deg: tuple[float, ...] = ()
    structure: str | None = None


def evenly_spaced(low: float, high: float, n: int) -> tuple[float, ...]:
    """Return ``n`` values from ``low`` to ``high``, both included; the middle where n is 1."""
    return tuple(torch.linspace(low, high, n, dtype=torch.float64).tolist()) if n > 1 else ((low + high) / 2,)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("phantom-demo", "a first ab initio run, minutes on two cores", SimulationConfig(n=2500)),
        Recipe(
            "phantom-hinge",
            "a continuous motion: the arm turns by 60° in 25 steps",
            SimulationConfig(n=10_000, snr=0.2),
            hinge_angles_deg=evenly_spaced(-30.0, 30.0, 25),
        ),
        Recipe(
            "phantom-hinge-32",
            "the same motion, small: 2,000 particles for a first run of flex",
            SimulationConfig(n=2000, box=32, snr=0.3),
            hinge_angles_deg=evenly_spaced(-30.0, 30.0, 25),
        ),
        Recipe(
            "phantom-two-states",
            "a discrete mixture: the hinge closed and open",
            SimulationConfig(n=4000),
            hinge_angles_deg=(-30.0, 30.0),
        ),
        Recipe(
            "phantom-preferred",
            "a strongly preferred orientation",
            SimulationConfig(n=3000, views="preferred", concentration=5.0),
        ),
        Recipe(
            "phantom-dark-noise",
            "coloured noise, dark particles, float16: what real stacks add",
            SimulationConfig(n=3000, noise="coloured", contrast="dark", float16=True),
        ),
        Recipe(
            "ribosome-64",
            "ab initio of an asymmetric complex, 64 px",
            SimulationConfig(n=3000, box=64, snr=0.1, shift=2.0),
            structure="a 70S ribosome, for example PDB 4V5A",
        ),
        Recipe(
            "ribosome-128",
            "speed and quality at 128 px with 20,000 particles",
            SimulationConfig(n=20_000, box=128, snr=0.05, shift=4.0),
            structure="a 70S ribosome, for example PDB 4V5A",
        ),
    )
}
"""Every recipe by name."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe; ConfigError, with the names that there are, where there is none."""
    if name not in RECIPES:
        raise ConfigError(
            "--recipe is not known", expected=f"one of {', '.join(RECIPES)}", found=name, remedy="See --recipes"
        )
    return RECIPES[name]


def list_recipes() -> str:
    """Return one line per recipe."""
    width = max(map(len, RECIPES))
    lines = []
    for recipe in RECIPES.values():
        needs = f"; needs {recipe.structure}" if recipe.structure else ""
        size = f"{recipe.config.n:,} × {recipe.config.box} px, SNR {recipe.config.snr:g}"
        lines.append(f"{recipe.name:<{width}}  {recipe.summary} ({size}{needs})")
    return "\n".join(lines) + "\n"
