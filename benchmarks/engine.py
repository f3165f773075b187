"""The ab initio engine under many conditions: one row per run, in ``results/engine-JOB.json``.

    python -m benchmarks.engine targets --structures FOLDER --stack-maker make_stack.py --scorer score.py
    python -m benchmarks.engine conditions …     coloured noise, preferred views, junk, wrong defocus, unknown CTF
    python -m benchmarks.engine network …        --method fastar beside search: targets, particles, SNR, unknown CTF
    python -m benchmarks.engine amortised …      --method cryoai beside search and fastar at SNR 1 and 0.1
    python -m benchmarks.engine low-snr …        SNR 0.05 to 0.02, 5,000 and 20,000 particles
    python -m benchmarks.engine cost …           time and memory against the number of particles and the box
    python -m benchmarks.engine targets … --append --at-most-minutes 60

FOLDER holds structure files (PDB or mmCIF) whose names begin with those of ``--targets``. Their maps are projected by
the stack maker (:func:`benchmarks.stacks.make_stack`); the scorer (:mod:`benchmarks.scoring`) judges every run beside
vitreous, and decides what counts as a success. Rows are written as they are found; ``--append`` goes on where an
earlier call stopped. ``cost`` needs an idle machine; tools/draw_cost_figure.py draws what it finds.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from benchmarks.commands import parser_of, run_command
from benchmarks.stacks import Images
from benchmarks.trials import Cell, Workshop, cell_rows

TARGETS = ("4v5a", "6swy", "4zxb", "3sn6", "6msm")
HOPELESS_SNR = 0.01
NETWORK_N, NETWORK_SNR = (500, 2000, 10_000), (0.1, 0.05, 0.02)
AMORTISED_SNR, AMORTISED_MINUTES = (1.0, 0.1), 5
LOW_N, LOW_SNR = (5000, 20_000), (0.05, 0.03, 0.02)
COST_N, COST_BOX = (1000, 3000, 10_000, 30_000, 100_000), (64, 96, 128, 192, 256)
SPOILT = ("coloured noise", "preferred views", "20 % junk", "defocus 3 % off", "CTF unknown")

Given = argparse.Namespace


def targets(given: Given) -> Iterator[Cell]:
    """Every target from every seed; then what cannot be solved, where only the verdict matters."""
    n = given.n or 5000
    plain = [Images(target, n, 0.1, seed) for seed, target in product(given.seeds, given.targets)]
    hopeless = [replace(images, snr=HOPELESS_SNR) for images in plain]
    nothing = [Images(given.targets[0], n, 0.0, seed, condition="pure noise") for seed in given.seeds]
    yield from map(Cell, [*plain, *nothing, *hopeless])


def conditions(given: Given) -> Iterator[Cell]:
    """One target as it is, then with each thing that real stacks have."""
    for seed, condition in product(given.seeds, ("plain", *SPOILT)):
        yield Cell(Images(given.targets[0], given.n or 5000, 0.1, seed, condition=condition))


def network(given: Given) -> Iterator[Cell]:
    """The pose network beside the search on the same stacks."""
    sizes = (given.n,) if given.n else NETWORK_N
    for seed, n, snr, target in product(given.seeds, sizes, NETWORK_SNR, given.targets):
        yield from _both_methods(Images(target, n, snr, seed))
    for seed, target in product(given.seeds, given.targets):
        yield from _both_methods(Images(target, sizes[len(sizes) // 2], 0.1, seed, condition="CTF unknown"))


def _both_methods(images: Images) -> Iterator[Cell]:
    yield from (Cell(images, f"--method {method}") for method in ("search", "fastar"))


def amortised(given: Given) -> Iterator[Cell]:
    """The network that learns from the particles themselves beside the search and the pre-trained network."""
    for seed, snr, target in product(given.seeds, AMORTISED_SNR, given.targets):
        images = Images(target, given.n or 5000, snr, seed)
        yield from _both_methods(images)
        yield Cell(images, f"--method cryoai --cryoai.minutes {AMORTISED_MINUTES}")


def low_snr(given: Given) -> Iterator[Cell]:
    """Fewer and fewer photons, with few and many particles."""
    sizes = (given.n,) if given.n else LOW_N
    for seed, n, snr, target in product(given.seeds, sizes, LOW_SNR, given.targets):
        yield Cell(Images(target, n, snr, seed))


def cost(given: Given) -> Iterator[Cell]:
    """Growth with the number of particles at 64 px, and with the box at a fixed number in a fixed field."""
    for seed in given.seeds:
        for n in given.sizes:
            yield Cell(Images(given.targets[0], n, 0.1, seed))
        for box in given.boxes:
            yield Cell(Images(given.targets[0], given.n or 1000, 0.1, seed, box=box, shift=2.0 * box / 64))


JOBS: dict[str, tuple[Callable[[Given], Iterator[Cell]], int, int]] = {
    "targets": (targets, 5, 5),
    "conditions": (conditions, 1, 3),
    "network": (network, 2, 3),
    "amortised": (amortised, 1, 3),
    "low-snr": (low_snr, 2, 3),
    "cost": (cost, 1, 1),
}
"""Cells of every job, and how many targets and seeds it takes where none are given."""


def source_parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks take, and of those that say where images come from.

    Each job has seeds, targets and numbers of particles of its own, where none are given.
    """
    parser = parser_of(description)
    parser.add_argument("--structures", type=Path, required=True, help="folder of structure files")
    parser.add_argument("--stack-maker", type=Path, required=True, help="Python script that projects a map")
    parser.add_argument("--scorer", type=Path, help="Python script that scores a run independently")
    parser.add_argument("--targets", nargs="+", help=f"beginnings of file names; from {' '.join(TARGETS)} by default")
    parser.add_argument("--n", type=int, help="particles, in place of the job's own numbers")
    parser.set_defaults(seeds=None)
    return parser


def open_workshop(given: Given, work: Path) -> Workshop:
    """Return the workshop that the options describe, in a work folder."""
    scripts = (given.stack_maker.absolute(), given.scorer and given.scorer.absolute())
    return Workshop(given.structures, scripts, work.absolute(), threads=given.threads, keep=given.work is not None)


def parse() -> Given:
    parser = source_parser_of(__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--sizes", type=int, nargs="*", default=COST_N, help="numbers of particles of cost")
    parser.add_argument("--boxes", type=int, nargs="*", default=COST_BOX, help="boxes of cost, px")
    given = parser.parse_args()
    _, n_targets, n_seeds = JOBS[given.job]
    given.targets = given.targets or TARGETS[:n_targets]
    given.seeds = given.seeds or range(1, n_seeds + 1)
    return given


def main() -> None:
    given = parse()
    cells, _, _ = JOBS[given.job]
    run_command(f"engine-{given.job}", given, lambda work: cell_rows(cells(given), open_workshop(given, work)))


if __name__ == "__main__":
    main()
