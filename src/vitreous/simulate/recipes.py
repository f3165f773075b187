"""Named simulations for demos and benchmarks: a name means the same specimen and settings for ever."""

import math
from dataclasses import dataclass, field

import torch

from vitreous.errors import ConfigError
from vitreous.simulate.config import SimulationConfig, SpecimenConfig


@dataclass(frozen=True)
class Recipe:
    """A specimen and the settings of its stack.

    Attributes
    ----------
    name, summary
        What it is called and what it is for.
    config
        The settings.
    specimen
        Its conformations.
    structure
        Which model the recipe expects (the user brings the file), None for the phantom.
    is_mixture
        Whether further structures are expected with ``--mixture``.
    """

    name: str
    summary: str
    config: SimulationConfig
    specimen: SpecimenConfig = field(default_factory=SpecimenConfig)
    structure: str | None = None
    is_mixture: bool = False


def evenly_spaced(low: float, high: float, n: int) -> tuple[float, ...]:
    """Return ``n`` values from ``low`` to ``high``, both included; the middle where n is 1."""
    return tuple(torch.linspace(low, high, n, dtype=torch.float64).tolist()) if n > 1 else ((low + high) / 2,)


_IGG = "an intact antibody, PDB 1IGY in mmCIF"
_FAB = ("A", "B:2-222")
_FAB_HINGE_A = (12.6, -8.0, 19.4)
"""Residue 222 of the heavy chain of 1IGY, where its first Fab ends."""

_FAB_AXIS = (0.14, -0.86, -0.49)
"""42° from the Fab's long axis: of the axes through the hinge that are so far from it, one of those about which the Fab
collides least with the rest (on average 2 % of its atoms come closer than 2.5 Å)."""

_FAB_CIRCLE = SpecimenConfig(
    hinge_angles=evenly_spaced(-180.0, 176.4, 100), hinge_chains=_FAB, hinge_point=_FAB_HINGE_A, hinge_axis=_FAB_AXIS
)
_FAB_LINKER = SpecimenConfig(hinge_random=100, hinge_chains=_FAB, hinge_point=_FAB_HINGE_A)
_KINASE = "a trajectory of adenylate kinase between 4AKE and 1AKE, .npz with xyz and element"
_KINASE_ALONE = SpecimenConfig(chains=("A",))
"""One molecule: the deposited coordinates of 4AKE are two, which a rotation by half a turn exchanges."""

_AKE = "adenylate kinase, PDB 4AKE in mmCIF"
_SPIKE = "a spike ectodomain, for example PDB 6VXX"
_COMPLEXES = "a structure, and others of about its size with --mixture, for example PDB 6MSM, 3SN6 and 4ZXB"


def _with_unseen(n: int, box: int, shift: float, pixel_size: float | None = None) -> SimulationConfig:
    """Settings of a motion whose networks are judged on particles and states that they have not seen."""
    return SimulationConfig(n, box, pixel_size, snr=0.1, shift=shift, unseen=0.1, unseen_states=0.1)


def _ideal(n: int, box: int, pixel_size: float | None = None) -> SimulationConfig:
    """Settings of a stack without noise, CTF or shifts."""
    return SimulationConfig(n, box, pixel_size, snr=math.inf, shift=0.0, ctf="none")


def _decibels(level: float) -> float:
    """Power ratio."""
    return round(10 ** (level / 10), 4)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("phantom-demo", "a first ab initio run, minutes on two cores", SimulationConfig(n=2500)),
        Recipe(
            "phantom-hinge",
            "a continuous motion: the arm turns by 60° in 25 steps",
            SimulationConfig(n=10_000, snr=0.2),
            specimen=SpecimenConfig(hinge_angles=evenly_spaced(-30.0, 30.0, 25)),
        ),
        Recipe(
            "phantom-hinge-32",
            "the same motion, small: 2,000 particles for a first run of flex",
            SimulationConfig(n=2000, box=32, snr=0.3),
            specimen=SpecimenConfig(hinge_angles=evenly_spaced(-30.0, 30.0, 25)),
        ),
        Recipe(
            "phantom-two-states",
            "a discrete mixture: the hinge closed and open",
            SimulationConfig(n=4000),
            specimen=SpecimenConfig(hinge_angles=(-30.0, 30.0)),
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
        Recipe(
            "igg-1d",
            "a Fab turns about its hinge through the full circle in 100 steps",
            _with_unseen(100_000, 128, 10.0, pixel_size=3.0),
            _FAB_CIRCLE,
            _IGG,
        ),
        Recipe(
            "igg-1d-48",
            "the same motion for a processor",
            _with_unseen(12_500, 48, 2.0),
            _FAB_CIRCLE,
            _IGG,
        ),
        Recipe(
            "igg-rl",
            "a Fab on a disordered linker: 100 random orientations",
            _with_unseen(100_000, 128, 10.0, pixel_size=3.0),
            _FAB_LINKER,
            _IGG,
        ),
        Recipe(
            "igg-rl-48",
            "the same for a processor",
            _with_unseen(12_500, 48, 2.0),
            _FAB_LINKER,
            _IGG,
        ),
        Recipe(
            "kinase-48",
            "adenylate kinase closes, in 50 steps",
            _with_unseen(12_500, 48, 2.0),
            SpecimenConfig(states=50),
            _KINASE,
        ),
        Recipe(
            "kinase-ideal-64",
            "amortised ab initio without noise, CTF or shifts",
            _ideal(50_000, 64),
            _KINASE_ALONE,
            _AKE,
        ),
        Recipe(
            "kinase-ideal-32",
            "the same for a processor",
            _ideal(10_000, 32),
            _KINASE_ALONE,
            _AKE,
        ),
        Recipe(
            "kinase-noisy-128",
            "the same molecule at -5 dB",
            SimulationConfig(n=50_000, box=128, snr=_decibels(-5.0), shift=5.0),
            _KINASE_ALONE,
            _AKE,
        ),
        *(
            Recipe(
                f"ribosome-{'minus-' if level else ''}{-level}-dB",
                f"amortised ab initio of a ribosome at {level} dB",
                SimulationConfig(n=10_000, box=128, snr=_decibels(float(level)), shift=4.0),
                structure="a ribosome, for example PDB 4V5A",
            )
            for level in (0, -5, -10, -15)
        ),
        Recipe(
            "spike-ideal-128",
            "amortised ab initio of a spike without noise, CTF or shifts",
            _ideal(50_000, 128, pixel_size=3.0),
            structure=_SPIKE,
        ),
        Recipe(
            "spike-noisy-128",
            "the same at -10 dB, centred",
            SimulationConfig(n=50_000, box=128, pixel_size=3.0, snr=_decibels(-10.0), shift=0.0),
            structure=_SPIKE,
        ),
        Recipe(
            "mixture-64",
            "a mixture of different complexes, each at the centre of its images",
            SimulationConfig(n=12_000, unseen=0.1),
            SpecimenConfig(centre_each=True),
            _COMPLEXES,
            is_mixture=True,
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
