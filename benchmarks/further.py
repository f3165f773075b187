"""Refinement, symmetry and mixtures: what comes after a C1 map of one particle.

    python -m benchmarks.further refine --structures FOLDER --stack-maker make_stack.py --scorer score.py
    python -m benchmarks.further symmetry …   C3 and D2, found by --symmetry auto and imposed
    python -m benchmarks.further mixtures …   three species, taken apart by vitreous classify

Every row is written to ``results/engine-JOB.json`` as it is found. ``refine`` runs ``vitreous abinitio`` on 10,000
images of 128 px and ``vitreous refine`` from its poses. A mixture holds its species in one box at one pixel size, with
one noise level (a large species then has a higher SNR), or with densities scaled so that every species has the same.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.commands import run_command, run_vitreous
from benchmarks.engine import open_workshop, source_parser_of
from benchmarks.processes import VITREOUS, run_measured
from benchmarks.scoring import score
from benchmarks.stacks import PIXELS_PER_RESOLUTION, Images, Stack, make_stack
from benchmarks.trials import Outcome, Row, Workshop
from vitreous.data import Volume
from vitreous.io import open_particles
from vitreous.io.maps import read_map, write_map
from vitreous.io.star import read_star
from vitreous.simulate.density import DensityGrid, atoms_to_density

REFINED = Images("4v5a", 10_000, 0.1, 1, box=128, shift=10.0)
SHIFT_SHARE = "0.09"
"""Shifts of ± 10 px of 128 that abinitio has to search."""

SYMMETRIC = {"6vxx": "C3", "6cvm": "D2"}
SPECIES = ("4v5a", "6vxx", "6swy")
EACH, CLASSES = 3000, 4


def refine_rows(workshop: Workshop) -> Iterator[Row]:
    """Ab initio, then refinement from its poses."""
    for command in ("abinitio", "refine"):
        known = {"command": command, **vars(REFINED), "threads": workshop.threads}
        yield known, partial(_refined, workshop, command)


def _refined(workshop: Workshop, command: str) -> Outcome:
    stack, known = workshop.stack(REFINED)
    found = workshop.folder(REFINED) / "abinitio"
    if command == "abinitio":
        words = ["abinitio", stack.folder / "particles.star", "--shift-range-share", SHIFT_SHARE, "-o", found]
        return _scored(workshop, words, stack, found, known)
    out = found.with_name("refine")
    return _scored(workshop, ["refine", found / "particles.star", "-o", out], stack, out, known)


def symmetry_rows(workshop: Workshop) -> Iterator[Row]:
    """Point groups found in C1 maps, beside true poses with the group imposed."""
    for (target, group), seed in ((item, seed) for item in SYMMETRIC.items() for seed in (1, 2)):
        images = Images(target, 5000, 0.1, seed)
        known = {"group": group, **vars(images), "threads": workshop.threads}
        yield known, partial(_symmetric, workshop, images, group)


def _symmetric(workshop: Workshop, images: Images, group: str) -> Outcome:
    stack, _ = workshop.stack(images)
    out, best = workshop.folder(images) / "auto", workshop.folder(images) / "best"
    run_vitreous(["reconstruct", stack.folder / "truth.star", "--symmetry", group, "-o", best], workshop.threads)
    known_A = _against(stack, best / "volume.mrc", best)
    words = ["abinitio", stack.folder / "particles.star", "--symmetry", "auto", "-o", out]
    done = run_vitreous(words, workshop.threads)
    summary = json.loads((out / "summary.json").read_text())
    found = {"resolution_05_A": _against(stack, out / "volume.mrc", out), "known_05_A": known_A}
    found["group_is_right"] = float(summary["symmetry"] == group)
    file = out / "against-truth-poses.json"
    truth = stack.folder / "truth.star"
    compared: list[Any] = [out / "particles.star", "--truth", truth, "--symmetry", group, "--json", file]
    run_measured([*VITREOUS, "evaluate", "poses", *compared])
    poses = json.loads(file.read_text())
    return (
        done,
        f"{summary['verdict']}, {summary['symmetry']}",
        found | {name: poses[name] for name in ("median_deg", "within_10_deg")},
    )


def mixture_rows(workshop: Workshop) -> Iterator[Row]:
    """Three species of equal numbers, at one noise level and at one SNR."""
    for snr in ("0.1 over all", "0.1 each"):
        known = {"species": " ".join(SPECIES), "SNR": snr, "n": EACH * len(SPECIES), "classes": CLASSES}
        yield known | {"threads": workshop.threads}, partial(_classified, workshop, snr)


def _classified(workshop: Workshop, snr: str) -> Outcome:
    folder = workshop.work / f"mixture-{snr.replace(' ', '-')}"
    maps = _maps_of_mixture(workshop, folder, scaled=snr.endswith("each"))
    settings = {"n": EACH * len(SPECIES), "snr": 0.1, "shift": 2.0, "seed": 1}
    # The stack maker takes several maps as one argument with commas.
    stack = make_stack(workshop.maker, Path(",".join(map(str, maps))), folder / "stack", settings)
    out = folder / "classes"
    words = ["classify", stack.folder / "particles.star", "--classes", str(CLASSES), "-o", out]
    done = run_vitreous(words, workshop.threads)
    found, true = (
        torch.tensor(read_star(file)["particles"].columns["rlnClassNumber"])
        for file in (out / "particles.star", stack.folder / "truth.star")
    )
    counts = torch.zeros(int(true.max()) + 1, int(found.max()) + 1).index_put_(
        (true, found), torch.ones(len(true)), accumulate=True
    )
    images = open_particles(stack.folder / "particles.star", contrast="bright").images()
    power = {name: float(images[true == k].var()) - 1 for k, name in enumerate(SPECIES, start=1)}
    owners = set(counts.argmax(0)[counts.sum(0) > 0].tolist())
    figures = {"in_majority": float(counts.amax(0).sum() / counts.sum()), "species_with_a_class": float(len(owners))}
    figures |= {f"snr_{name}": power[name] for name in SPECIES}
    figures |= {
        f"own_{name}": float(counts[k, counts.argmax(0) == k].sum() / counts[k].sum())
        for k, name in enumerate(SPECIES, start=1)
    }
    return done, json.loads((out / "summary.json").read_text())["verdict"], figures


def _maps_of_mixture(workshop: Workshop, folder: Path, *, scaled: bool) -> list[Path]:
    """Maps of all species on the grid of the first, the largest."""
    first = read_map(workshop.map(SPECIES[0], 64))
    grid = DensityGrid(64, first.voxel_size_A, PIXELS_PER_RESOLUTION * first.voxel_size_A)
    volumes = [atoms_to_density(workshop.atoms(name), grid) for name in SPECIES]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, volume in zip(SPECIES, volumes, strict=True):
        factor = (_power(volumes[0]) / _power(volume)) ** 0.5 if scaled else 1.0
        paths.append(folder / f"{name}.mrc")
        write_map(paths[-1], Volume(volume.values * factor, volume.voxel_size_A))
    return paths


def _power(volume: Volume) -> float:
    """Mean variance of three projections, which is that of all for what is no plate or rod."""
    return sum(float(volume.values.sum(axis).var()) for axis in range(3)) / 3


def _scored(workshop: Workshop, words: list[Any], stack: Stack, out: Path, known: dict[str, float]) -> Outcome:
    done = run_vitreous(words, workshop.threads)
    figures = score(stack, out / "particles.star", out / "volume.mrc", workshop.scorer)
    poses = json.loads((out / "against-truth-poses.json").read_text())
    summary = json.loads((out / "summary.json").read_text())
    figures |= {name: float(poses[name]) for name in ("fnorm_mean", "paper_fnorm")}
    return done, summary["verdict"], figures | known | {"gold_standard_A": float(summary["resolution_A"])}


def _against(stack: Stack, volume: Path, folder: Path) -> float:
    file = folder / "against-truth-map.json"
    run_measured([*VITREOUS, "evaluate", "map", volume, "--truth", str(stack.truth_map), "--json", file])
    return float(json.loads(file.read_text())["resolution_05_A"])


JOBS: dict[str, Callable[[Workshop], Iterator[Row]]] = {
    "refine": refine_rows,
    "symmetry": symmetry_rows,
    "mixtures": mixture_rows,
}


def main() -> None:
    parser = source_parser_of(__doc__)
    parser.add_argument("job", choices=JOBS)
    given = parser.parse_args()
    run_command(f"engine-{given.job}", given, lambda work: JOBS[given.job](open_workshop(given, work)))


if __name__ == "__main__":
    main()
