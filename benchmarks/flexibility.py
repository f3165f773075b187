"""Whether CryoFormer's maps of what moves lie in the domain that moves, and stay low where nothing does.

    python -m benchmarks.flexibility --box 24
    python -m benchmarks.flexibility --seeds 1 --n 400 --options "--cryoformer.levels 2 --cryoformer.epochs 1"

Simulates the phantom with its hinge moving (:data:`RECIPE`) and the same phantom rigid, with the same poses, CTFs and
pixels, trains ``vitreous flex --method cryoformer`` on both with true poses, and compares the flexibility map and the
attention maps with the volume that the domain sweeps. One row per seed in ``results/flexibility.json``; ``--append``
goes on.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks.commands import Bench, parser_of, run_command
from benchmarks.motions import FORMER
from benchmarks.processes import Finished
from benchmarks.trials import Outcome, Row
from vitreous.io.maps import read_map
from vitreous.simulate.geometry import plan_grid
from vitreous.simulate.motions import common_centre_A, phantom_hinge
from vitreous.simulate.recipes import find_recipe
from vitreous.simulate.swept import highest_density, swept_density
from vitreous.typing import Bool, Map

NAME = "flexibility"
RECIPE = "phantom-hinge-32"
OPTIONS = " ".join(FORMER[2:])

LEVEL = 0.1
"""Share of its maximum above which a density is taken for the particle, or for the domain."""

TOP = 0.05
"""Share of the particle's voxels that are looked at: those at which a map is highest."""

LARGEST_BOX = 64
"""Attention maps of larger boxes have a grid of their own."""


@dataclass(frozen=True)
class Truth:
    """Where the phantom is, and where its moving domain comes, in the frame of the simulation.

    Attributes
    ----------
    particle, domain
        ``[z, y, x]``: where the density of the whole, or of the domain, exceeds :data:`LEVEL` of its maximum at one of
        the angles or more.
    voxel_size_A
        Side of a voxel in Å.
    """

    particle: Bool[Tensor, "z y x"]
    domain: Bool[Tensor, "z y x"]
    voxel_size_A: float

    @classmethod
    def of_box(cls, box: int) -> "Truth":
        """Make the truth for images of ``box`` pixels, as ``vitreous simulate`` places the phantom in them."""
        recipe = find_recipe(RECIPE)
        motion = phantom_hinge(recipe.specimen.hinge_angles)
        states = motion.states()
        centre_A = common_centre_A(states)
        grid = plan_grid(states, replace(recipe.config, box=box), centre_A)
        whole = highest_density((state.atoms for state in states), grid, centre_A).values
        domain = swept_density(motion, grid, centre_A).values
        return cls(whole > LEVEL * whole.max(), domain > LEVEL * domain.max(), grid.voxel_size_A)

    def share_inside(self, values: Map) -> float:
        """Share inside the domain of the voxels of the particle at which a map is highest, :data:`TOP` of them."""
        count = max(1, round(TOP * int(self.particle.sum())))
        highest = values[self.particle].topk(count).indices
        return float(self.domain[self.particle][highest].double().mean())

    @property
    def share_by_chance(self) -> float:
        """Share of the particle's voxels that lie inside the domain."""
        return float(self.domain[self.particle].double().mean())


def figures_of(moving: Path, rigid: Path, truth: Truth) -> dict[str, float]:
    """Figures of two runs of ``vitreous flex``."""
    flexibility, of_rigid = (read_map(run / "flexibility.mrc").values for run in (moving, rigid))
    attention = [truth.share_inside(read_map(path).values) for path in sorted(moving.glob("attention/*.mrc"))]
    return {
        "flexibility_inside": truth.share_inside(flexibility),
        **({"attention_inside": max(attention), "first_inside": attention[0]} if attention else {}),
        "inside_by_chance": truth.share_by_chance,
        "rigid_over_flexible": float(of_rigid.max() / flexibility.max()),
        "moving_share": _moving_share(moving),
        "rigid_moving_share": _moving_share(rigid),
    }


def _moving_share(run: Path) -> float:
    return float(json.loads((run / "summary.json").read_text())["moving_share"])


class Flexibility(Bench):
    """Trainings on the moving phantom and on the rigid one."""

    def __init__(self, given: argparse.Namespace, work: Path) -> None:
        super().__init__(given, work)
        self.truth = Truth.of_box(given.box)

    def rows(self) -> Iterator[Row]:
        """Every seed."""
        given = self.given
        sizes = {"n": given.n, "snr": given.snr, "box": given.box, "threads": given.threads}
        for seed in given.seeds:
            known = {"recipe": RECIPE, **sizes, "dims": given.dims, "options": given.options, "seed": seed}
            yield known, partial(self.outcome, seed)

    def outcome(self, seed: int) -> Outcome:
        """Train on both specimens and compare; times are those of the training on the moving one."""
        one_state = ["--hinge-angles", "0", "--pixel-size", str(self.truth.voxel_size_A)]
        moving, done = self._trained("moving", seed, [])
        rigid, of_rigid = self._trained("rigid", seed, one_state)
        figures = figures_of(moving, rigid, self.truth)
        return done, "finished", {**figures, "rigid_cpu_seconds": of_rigid.cpu_seconds}

    def _trained(self, specimen: str, seed: int, options: list[str]) -> tuple[Path, Finished]:
        """Simulate, where it is not done yet, and train."""
        given = self.given
        stack = self.work / f"{specimen}-{given.n}-{given.box}-{given.snr}-{seed}"
        if not (stack / "truth.star").exists():
            sizes = ["--n", given.n, "--box", given.box, "--snr", given.snr, "--seed", seed]
            self.run(["simulate", "phantom", "--recipe", RECIPE, *sizes, *options, "-o", stack])
        run = stack.with_name(f"{stack.name}-run")
        network = ["--dims", given.dims, *given.options.split(), "--cryoformer.seed", seed]
        words = ["flex", stack / "truth.star", "--method", "cryoformer", *network, "-o", run]
        return run, self.run(words)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--n", type=int, default=2000, help="particles of each stack")
    parser.add_argument("--snr", type=float, default=0.3)
    parser.add_argument("--box", type=int, default=24, help=f"px, at most {LARGEST_BOX}")
    parser.add_argument("--dims", type=int, default=4, help="size of the latents")
    parser.add_argument("--options", default=OPTIONS, help=f"further ones of vitreous flex; by default {OPTIONS}")
    given = parser.parse_args()
    if given.box > LARGEST_BOX:
        parser.error(f"--box {given.box}: at most {LARGEST_BOX}")
    return given


def main() -> None:
    given = parse()
    run_command(NAME, given, lambda work: Flexibility(given, work).rows())


if __name__ == "__main__":
    main()
