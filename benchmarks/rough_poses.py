"""How far poses come that begin far from the truth: CryoFormer's orientation encoder, local refinement, the search.

    python -m benchmarks.rough_poses
    python -m benchmarks.rough_poses --seeds 1 --methods refine abinitio --append

Simulates the rigid phantom, turns every true pose by an angle drawn uniformly from 45° to 90° about a random axis (Liu
et al. 2023, appendix E), leaves shifts as they are, and has every method begin from there. One row per run in
``results/rough-poses.json``; ``--append`` goes on.
"""

import argparse
import json
import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch.nn.functional import normalize

from benchmarks.commands import Bench, parser_of, run_command
from benchmarks.trials import Outcome, Row
from vitreous.data import Poses
from vitreous.evaluate.poses import compare_poses, match_on_ids
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.io import open_particles, write_relion_star

NAME = "rough-poses"
FIGURES = ("median_deg", "within_10_deg", "shift_mean_px")
OPTIONS = (
    "--dims 1 --cryoformer.encoder pixels --cryoformer.levels 4 --cryoformer.epochs 20"
    " --cryoformer.first-box 8 --cryoformer.march 0.95 --cryoformer.pose-wait 0.3"
)
METHODS = {
    "cryoformer": (["flex", "--method", "cryoformer", "--cryoformer.poses", "encoder"], "--cryoformer.seed"),
    "refine": (["refine"], "--seed"),
    "abinitio": (["abinitio"], "--seed"),
}
"""First words of each command, and the option of its seed."""


def roughened(poses: Poses, range_deg: tuple[float, float], generator: torch.Generator) -> Poses:
    """Turn poses by angles drawn uniformly from a range in degrees, about axes drawn uniformly from the sphere."""
    low, high = (math.radians(degrees) for degrees in range_deg)
    angles = low + (high - low) * torch.rand(len(poses), 1, generator=generator, dtype=torch.float64)
    axes = normalize(torch.randn(len(poses), 3, generator=generator, dtype=torch.float64), dim=-1)
    turns = rotation_from_vector(angles * axes)
    return Poses((turns @ poses.rotations.double()).to(poses.rotations), poses.shifts_A)


def errors(estimate: Path, truth: Path) -> dict[str, float]:
    """Return errors after the best global rotation, shift and hand, and the median error without any of these."""
    found, true = (open_particles(path, contrast="bright") for path in (estimate, truth))
    rows = match_on_ids(found.ids, true.ids)
    poses = [each.poses.select(some) for each, some in zip((found, true), rows) if each.poses is not None]
    aligned = compare_poses(poses[0], poses[1], true.pixel_size_A)
    as_they_are = rotation_angle_deg(poses[0].rotations, poses[1].rotations)
    return {
        **{name: float(getattr(aligned, name)) for name in FIGURES},
        "unaligned_median_deg": float(as_they_are.median()),
    }


class RoughPoses(Bench):
    """Simulated stacks with rough poses, and runs that begin from them."""

    def rows(self) -> Iterator[Row]:
        """Every method on every stack, seed by seed."""
        given = self.given
        sizes = {"n": given.n, "snr": given.snr, "box": given.box, "threads": given.threads}
        for seed, method in product(given.seeds, given.methods):
            options = given.options if method == "cryoformer" else ""
            turned = {"low_deg": given.degrees[0], "high_deg": given.degrees[1]}
            yield (
                {**sizes, **turned, "method": method, "options": options, "seed": seed},
                partial(self.outcome, method, options, seed),
            )

    def outcome(self, method: str, options: str, seed: int) -> Outcome:
        """Run a method from the rough poses and compare what it leaves with the truth."""
        stack = self.stack(seed)
        rough, run = stack / "rough.star", stack.with_name(f"{stack.name}-{method}")
        (command, *words), option = METHODS[method]
        start = ["--poses", rough] if method == "abinitio" else []
        of_method = [*words, *start, *options.split(), option, seed]
        done = self.run([command, rough, *of_method, "-o", run])
        verdict = json.loads((run / "summary.json").read_text())["verdict"]
        at_start = errors(rough, stack / "truth.star")["unaligned_median_deg"]
        return done, verdict, {"start_median_deg": at_start, **errors(run / "particles.star", stack / "truth.star")}

    def stack(self, seed: int) -> Path:
        """Return a simulated stack with ``rough.star``, made where it does not exist."""
        given = self.given
        low, high = given.degrees
        folder = self.work / f"phantom-{given.n}-{given.box}-{given.snr}-{low:g}-{high:g}-{seed}"
        rough = folder / "rough.star"
        if not rough.exists():
            sizes = ["--n", given.n, "--box", given.box, "--snr", given.snr, "--seed", seed]
            self.run(["simulate", "phantom", *sizes, "-o", folder])
            particles = open_particles(folder / "truth.star", contrast="bright")
            assert particles.poses is not None
            generator = torch.Generator().manual_seed(seed)
            write_relion_star(rough, particles, poses=roughened(particles.poses, (low, high), generator))
        return folder


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--n", type=int, default=2000, help="particles")
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--box", type=int, default=24, help="px")
    parser.add_argument("--degrees", type=float, nargs=2, default=[45.0, 90.0], help="least and largest turn")
    parser.add_argument("--options", default=OPTIONS, help=f"further ones of CryoFormer; by default {OPTIONS}")
    return parser.parse_args()


def main() -> None:
    given = parse()
    run_command(NAME, given, lambda work: RoughPoses(given, work).rows())


if __name__ == "__main__":
    main()
