"""Ab initio by other programs on the same images, with the same threads, killed when their time is up.

    python -m benchmarks.peers --structures FOLDER --stack-maker make_stack.py --scorer score.py
    python -m benchmarks.peers … --programs cryodrgn --cryodrgn ENVIRONMENT/bin/cryodrgn --minutes 30 --append

RELION 3.1's initial model by stochastic gradient descent runs with the options of its own graphical interface and the
true diameter; cryoDRGN's ``abinit`` (4.3, in an environment of its own) with its defaults. Of each, the last poses and
map that it wrote are compared with the truth; images it has not come to yet count with the poses it gives them. Writes
``results/engine-peers.json`` and prints its table.
"""

import argparse
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import torch

from benchmarks.commands import run_command
from benchmarks.engine import TARGETS, open_workshop, source_parser_of
from benchmarks.processes import Finished, run_measured
from benchmarks.scoring import score
from benchmarks.stacks import Images, Stack, longest_extent_A
from benchmarks.trials import Cell, Outcome, Row, Workshop
from vitreous.data import Poses
from vitreous.io import open_particles, write_relion_star
from vitreous.io.pickles import read_arrays

NAME = "engine-peers"
PROGRAMS = ("vitreous", "relion", "cryodrgn")
RELION_DIAMETER = 1.1
"""Diameter of RELION's mask over the longest extent of the structure."""

RELION_OPTIONS = (
    "--sgd --denovo_3dref --K 1 --sym C1 --ctf --flatten_solvent --zero_mask "
    "--sgd_ini_iter 50 --sgd_inbetween_iter 200 --sgd_fin_iter 50 --sgd_write_iter 1 "
    "--sgd_ini_resol 35 --sgd_fin_resol 15 --sgd_ini_subset 100 --sgd_fin_subset 500 "
    "--dont_combine_weights_via_disc --pool 3 --pad 1 --skip_gridding "
    "--oversampling 1 --healpix_order 1 --offset_range 6 --offset_step 2"
)


class Peers:
    """Runs each program on a stack.

    Parameters
    ----------
    workshop
        Makes and scores.
    minutes
        After which a program is killed; vitreous is not.
    cryodrgn
        The command.
    """

    def __init__(self, workshop: Workshop, minutes: float, cryodrgn: str) -> None:
        self.workshop, self.seconds, self.cryodrgn_command = workshop, 60 * minutes, cryodrgn

    def vitreous(self, images: Images) -> Outcome:
        """Run ``vitreous abinitio``."""
        done, verdict, figures = self.workshop.run(Cell(images))
        return done, f"finished, {verdict}", figures

    def relion(self, images: Images) -> Outcome:
        """Run RELION's initial model."""
        stack, known = self.workshop.stack(images)
        out = _fresh(stack, "relion")
        diameter_A = RELION_DIAMETER * longest_extent_A(self.workshop.atoms(images.target))
        command = ["relion_refine", "--i", "particles.star", "--o", f"{out}/run", *RELION_OPTIONS.split()]
        command += ["--particle_diameter", f"{diameter_A:.0f}", "--random_seed", str(images.seed)]
        # RELION looks for images from the folder in which it runs.
        done = self._run([*command, "--j", str(self.workshop.threads)], stack.folder)
        written = ((number, path, _relion_map(path)) for number, path in _newest(out, "run_it*_data.star"))
        return done, _ended(done), self._last_scores(stack, written) | known

    def cryodrgn(self, images: Images) -> Outcome:
        """Run cryoDRGN's ``abinit``."""
        stack, known = self.workshop.stack(images)
        out = _fresh(stack, "cryodrgn")
        particles = stack.folder / "particles.star"
        run_measured([self.cryodrgn_command, "parse_ctf_star", particles, "-o", out / "ctf.pkl"])
        options = ["--zdim", "0", "--seed", str(images.seed), "--max-threads", str(self.workshop.threads)]
        places: list[str | Path] = ["--ctf", out / "ctf.pkl", "--datadir", stack.folder, "-o", out / "run"]
        done = self._run([self.cryodrgn_command, "abinit", particles, *places, *options], out)
        written = (
            (number, _poses_as_star(path, stack), path.with_name(f"reconstruct.{number}.mrc"))
            for number, path in _newest(out / "run", "pose.*.pkl")
        )
        return done, _ended(done), self._last_scores(stack, written) | known

    def _run(self, command: Sequence[str | Path], folder: Path) -> Finished:
        threads = {"OMP_NUM_THREADS": str(self.workshop.threads)}
        return run_measured(command, folder=folder, environment=threads, at_most_seconds=self.seconds)

    def _last_scores(self, stack: Stack, written: Iterator[tuple[int, Path, Path]]) -> dict[str, float]:
        """Score the newest result that is complete: the program may have been killed while it wrote one."""
        for number, poses, volume in written:
            try:
                return {"iterations": float(number), **score(stack, poses, volume, self.workshop.scorer)}
            except RuntimeError as error:
                print(f"{poses} cannot be scored: {error}", flush=True)
        return {"iterations": 0.0}


def _fresh(stack: Stack, program: str) -> Path:
    """Make a folder inside that of the stack, so that names of images lead to them from there as well."""
    out = stack.folder / program
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return out


def _ended(done: Finished) -> str:
    return "killed" if done.was_stopped else "finished"


def _newest(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """Files of a folder with the number in their names, the largest first."""
    return sorted(((_number(path), path) for path in folder.glob(pattern)), reverse=True)


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.name)[0])


def _relion_map(data: Path) -> Path:
    return data.with_name(data.name.replace("_data.star", "_class001.mrc"))


def _poses_as_star(path: Path, stack: Stack) -> Path:
    """Write the poses of ``cryodrgn abinit``, whose translations are the negative of the shifts in pixels."""
    rotations, translations_px = (torch.from_numpy(array).float() for array in read_arrays(path))
    particles = open_particles(stack.folder / "particles.star", contrast="bright")
    out = path.with_suffix(".star")
    write_relion_star(out, particles, poses=Poses(rotations, -translations_px * particles.pixel_size_A))
    return out


def rows(given: argparse.Namespace, peers: Peers) -> Iterator[Row]:
    """Every program on every stack."""
    programs = {"vitreous": peers.vitreous, "relion": peers.relion, "cryodrgn": peers.cryodrgn}
    for target, seed, program in product(given.targets, given.seeds, given.programs):
        images = Images(target, given.n or 5000, 0.1, seed)
        known = {**asdict(images), "program": program, "threads": given.threads, "minutes": given.minutes}
        yield known, partial(programs[program], images)


def main() -> None:
    parser = source_parser_of(__doc__)
    parser.add_argument("--programs", nargs="+", default=PROGRAMS, choices=PROGRAMS)
    parser.add_argument("--cryodrgn", default="cryodrgn", help="its command, where it is not on the path")
    parser.add_argument("--minutes", type=float, default=10.0, help="after which a program is killed")
    given = parser.parse_args()
    given.targets, given.seeds = given.targets or TARGETS[:1], given.seeds or [1]

    def rows_in(work: Path) -> Iterator[Row]:
        return rows(given, Peers(open_workshop(given, work), given.minutes, given.cryodrgn))

    run_command(NAME, given, rows_in)


if __name__ == "__main__":
    main()
