"""The same autoencoder on the same particles by ``cryodrgn train_vae`` and by ``vitreous flex --method cryodrgn``.

    python -m benchmarks.parity --cryodrgn ENVIRONMENT/bin/cryodrgn
    python -m benchmarks.parity --cryodrgn … --structure 1igy.cif.gz --recipe igg-1d-48 --append
    python -m benchmarks.parity --cryodrgn … --n 500 --epochs 1 --seeds 1 --results FOLDER

Both get the same stack with the true poses, the same sizes of networks and latents, batches, learning rate, number of
epochs and threads, at constant rates; encoding, window and weight of the divergence are the defaults of both, which are
equal. Maps are decoded at each program's own latents of the same particles, one of each state, and compared with the
true maps by the same code, without alignment. Seconds per epoch are the median of what each program's own log
gives, so that start, embedding and decoding are left out; processor seconds and memory are those of the whole command
that trains. One row per program and seed in ``results/parity.json``; ``--append`` goes on. Times need an idle machine.
"""

import argparse
import json
import math
import shutil
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.commands import Bench, parser_of, run_command
from benchmarks.cryodrgn_program import CryodrgnProgram, Epoch, epochs_of, latents_of
from benchmarks.processes import VITREOUS, Finished, run_measured
from benchmarks.trials import Outcome, Row
from vitreous.cli.decoded_maps import SimulatedTruth, fsc_of_maps, images_of_states, load_decoder
from vitreous.compute.processor import processor_name
from vitreous.data import Volume
from vitreous.io import open_particles
from vitreous.runs.reader import read_latents, read_run

NAME = "parity"
CRYODRGN, SINGLE, MIXED = "cryodrgn", "vitreous, 32-true", "vitreous, bf16-mixed"
PROGRAMS = (CRYODRGN, SINGLE, MIXED)
"""Rows; the last where it is asked for, and on processors that multiply in bfloat16."""

LATENTS = "latents.npz"


@dataclass(frozen=True)
class Trained:
    """What a program left.

    Attributes
    ----------
    done
        What the command that trains took.
    latents
        File of ids and latents.
    epochs
        What the program says of its epochs.
    decode
        Makes maps of latents ``[n, dims]``.
    """

    done: Finished
    latents: Path
    epochs: Sequence[Epoch]
    decode: Callable[[NDArray[np.float32]], Iterable[Volume]]


class Parity(Bench):
    """Simulated stacks, and both programs on them."""

    def __init__(self, given: argparse.Namespace, work: Path) -> None:
        super().__init__(given, work)
        self.peer = CryodrgnProgram(given.cryodrgn, given.threads)

    def rows(self) -> Iterator[Row]:
        """Every program on every stack, seed by seed."""
        names = ("recipe", "snr", "n", "box", "dims", "width", "layers", "batch", "rate", "epochs", "threads")
        known = {name: getattr(self.given, name) for name in names}
        programs = self.given.programs or [name for name in PROGRAMS if name != MIXED or _has_bfloat16()]
        version = self.peer.version() if CRYODRGN in programs else ""
        for seed, program in product(self.given.seeds, programs):
            full = f"{program} {version}" if program == CRYODRGN else program
            yield {**known, "program": full, "seed": seed}, partial(self.outcome, program, seed)

    def outcome(self, program: str, seed: int) -> Outcome:
        """Train, and judge latents and maps."""
        star = self.stack(seed)
        trained = self.cryodrgn(star, seed) if program == CRYODRGN else self.vitreous(star, seed, program.split()[-1])
        times = [epoch.seconds for epoch in trained.epochs]
        figures = {"seconds_per_epoch": statistics.median(times), "residual": trained.epochs[-1].residual}
        return trained.done, "finished", figures | self.judged(trained, star.parent / "latents_truth.csv")

    def stack(self, seed: int) -> Path:
        """Return the particles of a simulation with their true poses, made where they do not exist."""
        given = self.given
        folder = self.work / f"{given.recipe}-{given.n}-{given.box}-{given.snr}-{seed}"
        if not (folder / "truth.star").exists():
            ctf = ["--ctf", given.ctf] if given.ctf else []
            size = ["--n", given.n, "--box", given.box, "--snr", given.snr, "--seed", seed]
            words = ["simulate", given.structure, "--recipe", given.recipe, *size, *ctf, "-o", folder]
            self.run(words)
        return folder / "truth.star"

    def cryodrgn(self, star: Path, seed: int) -> Trained:
        """Train with the package."""
        given, run = self.given, star.parent / "run-cryodrgn"
        particles = open_particles(star, contrast="bright")
        words = ["--zdim", given.dims, "-n", given.epochs, "-b", given.batch, "--lr", given.rate, "--seed", seed]
        for part in ("enc", "dec"):
            words += [f"--{part}-dim", given.width, f"--{part}-layers", given.layers]
        done = self.peer.train_vae(star, run, words)
        np.savez(run / LATENTS, ids=particles.ids, z=latents_of(run))
        decode = partial(self.peer.eval_vol, run, particles.pixel_size_A)
        return Trained(done, run / LATENTS, epochs_of((run / "run.log").read_text()), decode)

    def vitreous(self, star: Path, seed: int, precision: str) -> Trained:
        """Train with vitreous."""
        given, run = self.given, star.parent / f"run-{precision}"
        words = ["--dims", given.dims, "--epochs", given.epochs, "--batch", given.batch, "--seed", seed]
        words += ["--learning-rate", given.rate, "--precision", precision, "--encoder", "pixels", "--anneal", 0]
        for part in ("encoder", "decoder"):
            words += [f"--{part}-width", given.width, f"--{part}-layers", given.layers]
        done = self.run(["flex", star, "-o", run, "--method", "cryodrgn", *words])
        volume = load_decoder(run).volume
        epochs = epochs_of_metrics(read_run(run).metrics)
        return Trained(done, run / LATENTS, epochs, lambda z: map(volume, torch.from_numpy(z)))

    def judged(self, trained: Trained, truth_file: Path) -> dict[str, float]:
        """Find the hinge from the latents, and compare maps with the true ones, as ``vitreous evaluate latents``."""
        file = trained.latents.with_name("judged.json")
        words = ["evaluate", "latents", trained.latents, "--truth", truth_file, "--json", file]
        run_measured([*VITREOUS, *map(str, words)])
        angle = float(json.loads(file.read_text())["circular_correlation"])
        truth, (ids, z) = SimulatedTruth.read(truth_file), read_latents(trained.latents)
        rows = truth.rows_of(ids)
        chosen = images_of_states(truth.states[rows], self.given.maps)
        found = fsc_of_maps(trained.decode(z[chosen]), truth, rows[chosen])
        return {"circular_correlation": angle, **{name: float(value) for name, value in found.items()}}


def epochs_of_metrics(lines: Iterable[Mapping[str, Any]]) -> list[Epoch]:
    """Read what ``metrics.jsonl`` says of every epoch, which is in several lines where checkpoints came between."""
    parts: dict[int, list[tuple[int, float, float]]] = {}
    before = 0
    for line in lines:
        steps = line["step"] - before
        part = (steps, steps / line["steps_per_second"], steps * line["residual"])
        parts.setdefault(math.ceil(line["epoch"]), []).append(part)
        before = line["step"]
    totals = [[sum(column) for column in zip(*of_epoch)] for of_epoch in parts.values()]
    return [Epoch(seconds, residual / steps) for steps, seconds, residual in totals]


def _has_bfloat16() -> bool:
    name = processor_name()
    return "BF16" in name or "AMX" in name


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--cryodrgn", default="cryodrgn", help="its command, where it is not on the path")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, help="all that make sense here by default")
    parser.add_argument("--structure", default="phantom", help="file of the recipe, or phantom")
    parser.add_argument("--recipe", default="phantom-hinge-32", help="of vitreous simulate")
    parser.add_argument("--ctf", type=Path, help="table of real CTFs; a range of defocus by default")
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--n", type=int, default=10_000, help="particles")
    parser.add_argument("--box", type=int, default=32, help="px")
    parser.add_argument("--dims", type=int, default=8, help="size of the latents")
    parser.add_argument("--width", type=int, default=256, help="of the layers of both networks")
    parser.add_argument("--layers", type=int, default=3, help="of both networks")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--rate", type=float, default=1e-4, help="of learning")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--maps", type=int, default=25, help="to compare, of different states")
    given = parser.parse_args()
    if shutil.which(given.cryodrgn) is None and CRYODRGN in (given.programs or PROGRAMS):
        parser.error(f"there is no command {given.cryodrgn}: give --cryodrgn, or leave it out of --programs")
    return given


def main() -> None:
    given = parse()
    run_command(NAME, given, lambda work: Parity(given, work).rows())


if __name__ == "__main__":
    main()
