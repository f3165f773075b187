"""The pose network: what it learns, generalises to, and how fast it is.

    python -m benchmarks.pose_network variants                       tokens and hand at equal compute, several seeds
    python -m benchmarks.pose_network generalisation --weights W --corpus C      unseen structures; views × SNR; hand
    python -m benchmarks.pose_network throughput --weights W         images per second, share of the hardware's peak

``variants`` trains small networks on random blobs from the same budget of floating-point operations and scores them
on blobs that none of them saw. Writes ``results/pose-network-*.json`` and prints the table.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.processes import Finished
from benchmarks.rows import RESULTS, ResultFile
from benchmarks.tables import section
from vitreous.compute.device import fastest_autocast, resolve_device
from vitreous.compute.memory import anonymous_memory_MB, peak_memory_MB
from vitreous.compute.processes import Rank
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.corpus_scenes import trial_scenes
from vitreous.methods.fastar.curriculum import Stage
from vitreous.methods.fastar.loss import LossConfig
from vitreous.methods.fastar.published import load_network, network_of
from vitreous.methods.fastar.scenes import Blobs
from vitreous.methods.fastar.simulator import ViewConfig, simulate_views
from vitreous.methods.fastar.training import PretrainConfig, Pretraining, StepConfig
from vitreous.methods.fastar.trial import Trial, run_trial
from vitreous.simulate.corpus import Corpus
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit

EASY = Stage(10**9, views=8, snr=(3.0, 300.0), shift=0.02)
"""Conditions under which differences show within minutes: few views, little noise, no CTF."""

LINES = ModelConfig(width=128, heads=4, encoder_depth=3, decoder_depth=4)
VARIANTS = {
    "lines, better hand": (LINES, LossConfig()),
    "lines, given hand": (LINES, LossConfig(either_hand=False)),
    "lines, no map": (replace(LINES, maps=0), LossConfig()),
    "lines, no map, no matches": (replace(LINES, matches=0, maps=0), LossConfig()),
    "patches, better hand": (replace(LINES, tokens="patch", matches=0, maps=0), LossConfig()),
}


def training_flop(config: PretrainConfig) -> float:
    """Floating-point operations of one training step: those of a forward pass, three times."""
    task = Pretraining(config)
    module = task.module()
    with FlopCounterMode(display=False) as counter:
        task.training_step(module, next(task.batches(0, Rank())))
    return 3.0 * counter.get_total_flops()


def variants(given: argparse.Namespace, results: ResultFile) -> None:
    """Train every variant from every seed with the same operations, and score it."""
    for seed in given.seeds:
        for name, (model, loss) in VARIANTS.items():
            config = PretrainConfig(
                model, loss, StepConfig(batch_views=32, decay=10**9, unheard=0.0), ViewConfig(), (EASY,)
            )
            steps = round(given.petaflop * 1e15 / training_flop(config))
            started, processor = time.perf_counter(), time.process_time()
            trained = fit(
                Pretraining(config, seed=seed),
                TrainConfig(steps=steps, ema_decay=0.995, seed=seed, log_every=10**6),
                Hardware(precision="bf16-mixed"),
            )
            done = _finished(started, processor)
            network = network_of(model, trained.averaged or trained.parameters)
            scenes = Blobs().draw(256, 240, torch.Generator().manual_seed(12345))
            scores = run_trial(network, scenes, Trial(views=8, snr=30.0, shift=0.02, ctf=False))
            known = {"variant": name, "seed": seed, "steps": steps, "views": 32 * steps, "petaflop": given.petaflop}
            results.add("pose-network-variants", done, known, vars(scores))
            print(f"{name}, seed {seed}: {scores.fnorm_mean:.3f} / {scores.fnorm_median:.3f}", flush=True)


def generalisation(given: argparse.Namespace, results: ResultFile) -> None:
    """Score published weights on the test split: views × SNR, then both hands of every structure."""
    network, card = load_network(given.weights)
    names, scenes = trial_scenes(Corpus.load(given.corpus), "test")
    known = {"structures": len(names), "training_views": card.images, "weights": card.date}
    for snr in (1.0, 0.1, 0.05):
        for views in (16, 32, 64, 128):
            started, processor = time.perf_counter(), time.process_time()
            scores = run_trial(network, scenes, Trial(views=views, snr=snr))
            row = {**known, "views": views, "snr": snr, "hand": "given"}
            results.add("pose-network-generalisation", _finished(started, processor), row, vars(scores))
            print(row, scores, flush=True)
    started, processor = time.perf_counter(), time.process_time()
    mirrored = replace(scenes, beads=scenes.beads * torch.tensor([1.0, 1.0, -1.0]))
    row = {**known, "views": 32, "snr": 0.1, "hand": "mirrored"}
    scores = run_trial(network, mirrored, Trial(views=32, snr=0.1))
    results.add("pose-network-generalisation", _finished(started, processor), row, vars(scores))


def throughput(given: argparse.Namespace, results: ResultFile) -> None:
    """Time the forward pass on sets of 128 views, and compare with the rate of a large matrix product."""
    network, _ = load_network(given.weights)
    device = resolve_device(given.device)
    network = network.to(device)
    generator = torch.Generator(device).manual_seed(0)
    views, _ = simulate_views(Blobs().draw(4, 240, generator), ViewConfig(views=128), network.config.box, generator)
    with torch.no_grad(), fastest_autocast(device):
        with FlopCounterMode(display=False) as counter:
            network(views)
        flop_per_image = counter.get_total_flops() / (4 * 128)
        started, processor = time.perf_counter(), time.process_time()
        seconds = list(_timed(lambda: network(views), device, 5))
        peak = 2 * 4096**3 / median(_timed(_product(device), device, 5))
    rate = 4 * 128 / median(seconds)
    quality = {
        "images_per_s": rate,
        "gflop_per_image": flop_per_image / 1e9,
        "share_of_gemm": rate * flop_per_image / peak,
    }
    known = {"device": str(device), "threads": torch.get_num_threads(), "views": 128}
    results.add("pose-network-throughput", _finished(started, processor), known, quality)
    print(quality)


def _product(device: torch.device) -> Callable[[], torch.Tensor]:
    a = torch.ones(4096, 4096, device=device)
    return lambda: a @ a


def _timed(work: Callable[[], object], device: torch.device, times: int) -> Iterator[float]:
    for _ in range(times):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - started


def _finished(started: float, processor: float) -> Finished:
    """Describe work done in this process since then."""
    wall, cpu = time.perf_counter() - started, time.process_time() - processor
    return Finished(wall, cpu, anonymous_memory_MB(), peak_memory_MB(), "")


JOBS = {"variants": variants, "generalisation": generalisation, "throughput": throughput}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--petaflop", type=float, default=0.01, help="budget of every variant's training")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    results = ResultFile(given.results / f"pose-network-{given.job}.json")
    JOBS[given.job](given, results)
    print("\n" + section(f"pose-network-{given.job}", results.records))


if __name__ == "__main__":
    main()
