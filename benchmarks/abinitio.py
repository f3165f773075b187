"""Ab initio quality over several seeds, scored by vitreous and, where one is given, by an independent program.

    python -m benchmarks.abinitio phantom --recipe phantom-demo
    python -m benchmarks.abinitio ribosome --recipe ribosome-64 --structure 4v5a.cif.gz --stack-maker make_stack.py
    python -m benchmarks.abinitio mine --map map.mrc --stack-maker make_stack.py --n 3000 --snr 0.1 --shift 2
    python -m benchmarks.abinitio mine --stack FOLDER [--truth-map map.mrc]
    python -m benchmarks.abinitio mine --stack FOLDER --options "" "--method fastar" "--method fastar --network-only"

FOLDER holds ``particles.star`` and ``truth.star``. With a stack maker (:func:`benchmarks.stacks.make_stack`) another
program's projector makes the images; :mod:`benchmarks.scoring` describes a scorer. Writes
``results/abinitio-NAME.json`` and prints its table.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.processes import VITREOUS, run_measured
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.scoring import score
from benchmarks.stacks import Stack, make_stack
from benchmarks.tables import section
from vitreous.io import open_particles
from vitreous.simulate.recipes import find_recipe


def prepare_stack(given: argparse.Namespace, work: Path, seed: int) -> Stack:
    """Find or make the stack of a run: of its own seed where a stack maker makes it and no other seed is given."""
    if given.stack is not None:
        return Stack(given.stack, given.truth_map, "given")
    if given.map is not None:
        return make_seeded(given, given.map, work, seed, {"n": given.n, "snr": given.snr, "shift": given.shift})
    config = find_recipe(given.recipe).config
    # The projector of another program needs only the recipe's map, which comes with any number of particles.
    few = ("--n", "1") if given.stack_maker else ()
    structure = given.structure or "phantom"
    simulated = work / "simulated"
    recipe = ("--recipe", given.recipe, *few, "--overwrite", "--quiet", "-o", simulated)
    run_measured([*VITREOUS, "simulate", structure, *recipe])
    truth = simulated / "state_01.mrc"
    if not given.stack_maker:
        return Stack(simulated, truth, "vitreous simulate")
    return make_seeded(given, truth, work, seed, {"n": config.n, "snr": config.snr, "shift": config.shift})


def make_seeded(given: argparse.Namespace, volume: Path, work: Path, seed: int, settings: dict[str, float]) -> Stack:
    """Have the stack made from a map, with the seed of the run unless another one is given."""
    stack_seed = seed if given.stack_seed is None else given.stack_seed
    return make_stack(given.stack_maker, volume, work / f"stack-{stack_seed}", {**settings, "seed": stack_seed})


def run_seeds(given: argparse.Namespace, work: Path, results: ResultFile) -> None:
    """Run and score every seed."""
    for seed in given.seeds:
        run_options(given, work, seed, prepare_stack(given, work, seed), results)


def run_options(given: argparse.Namespace, work: Path, seed: int, stack: Stack, results: ResultFile) -> None:
    """Run and score one seed with each set of options."""
    particles = open_particles(stack.folder / "particles.star", contrast="bright")
    known = {"stack": stack.origin, "n": len(particles), "box": particles.box, "threads": given.threads}
    for options in given.options:
        run = work / f"seed-{seed}"
        words = ("abinitio", stack.folder / "particles.star", "-o", run, "--seed", str(seed), *options.split())
        done = run_measured([*VITREOUS, *words, "--threads", str(given.threads), "--overwrite", "--quiet"])
        verdict = json.loads((run / "summary.json").read_text())["verdict"]
        figures = score(stack, run / "particles.star", run / "volume.mrc", given.scorer)
        chosen = {"options": options} if options else {}
        results.add(f"abinitio-{given.name}", done, {**known, **chosen, "seed": seed, "verdict": verdict}, figures)
        print(f"seed {seed} {options}: {verdict}, {figures['median_deg']:.2f}°, {done.wall_seconds:.0f} s", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="the results become abinitio-NAME.json")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--stack", type=Path, help="folder with particles.star and truth.star")
    source.add_argument("--map", type=Path, help="map to project; needs --stack-maker")
    source.add_argument("--recipe", help="see vitreous simulate --recipes")
    parser.add_argument("--structure", type=Path, help="structure file, where the recipe needs one")
    parser.add_argument("--truth-map", type=Path, help="true map of --stack")
    parser.add_argument("--stack-maker", type=Path, help="Python script that projects a map")
    parser.add_argument("--scorer", type=Path, help="Python script that scores a run independently")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--options", nargs="+", default=[""], help="further options of abinitio, one run for each")
    parser.add_argument("--n", type=int, default=3000, help="particles of --map")
    parser.add_argument("--snr", type=float, default=0.1, help="of --map")
    parser.add_argument("--shift", type=float, default=2.0, help="largest shift in px, of --map")
    parser.add_argument("--stack-seed", type=int, help="seed of the stack maker; by default that of the run")
    parser.add_argument("--work", type=Path, help="folder for stacks and runs, kept; a temporary one by default")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.map is not None and given.stack_maker is None:
        parser.error("--map needs --stack-maker")
    return given


def main() -> None:
    given = parse()
    results = ResultFile(given.results / f"abinitio-{given.name}.json")
    with tempfile.TemporaryDirectory(prefix="vitreous-bench-") as temporary:
        run_seeds(given, (given.work or Path(temporary)).absolute(), results)
    print("\n" + section(f"abinitio-{given.name}", results.records))


if __name__ == "__main__":
    main()
