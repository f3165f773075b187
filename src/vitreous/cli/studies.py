"""Tables of ``vitreous benchmark`` that compare settings of ``vitreous flex`` on particles that training never saw."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

Command = Callable[..., None]
"""Runs a command of vitreous, given as words."""

FIGURES = ("circular_correlation", "fsc_auc_mean", "kl_known_new", "kl_known_new_within_known")
STUDY_COLUMNS = (
    "row",
    "seed",
    "train.circular_correlation",
    "unseen.circular_correlation",
    "train.fsc_auc_mean",
    "unseen.fsc_auc_mean",
    "unseen.kl_known_new",
)
MAPS = "25"
"""Maps that are decoded to be compared with the true ones."""


@dataclass(frozen=True)
class Study:
    """Settings of one method, compared on one stack.

    Attributes
    ----------
    summary
        What it shows, in a few words.
    stack
        Options of ``vitreous simulate`` for the built-in phantom; a part of the particles has to stay unseen.
    options
        Options of ``vitreous flex`` that all rows share.
    rows
        Those of every row.
    seed
        Option by which the method takes its seed.
    """

    summary: str
    stack: tuple[str, ...]
    options: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seed: str = "--seed"

    def runs(self, seeds: tuple[int, ...]) -> Iterator[tuple[str, int]]:
        """Yield row and seed of every run."""
        yield from ((row, seed) for seed, row in product(seeds, self.rows))

    def simulate(self, out: Path, command: Command) -> None:
        """Make the stack."""
        command("simulate", "phantom", *self.stack, "-o", str(out))

    def train(self, row: str, seed: int, stack: Path, run: Path, command: Command) -> dict[str, float]:
        """Train a row, embed what it never saw, and compare both with the truth."""
        words = (self.seed, str(seed), *self.options, *self.rows[row])
        command("flex", str(stack / "train.star"), "-o", str(run), *words)
        new = run.with_name(f"{run.name}-unseen")
        command("embed", str(stack / "unseen_particles.star"), "--run", str(run), "-o", str(new))
        return _judged(run, stack, "train", command) | _judged(new, stack, "unseen", command, "--known", str(run))


def _judged(run: Path, stack: Path, part: str, command: Command, *words: str) -> dict[str, float]:
    file = run / "judged.json"
    truth = ("--truth", str(stack / "latents_truth.csv"))
    command("evaluate", "latents", str(run), *truth, "--maps", MAPS, *words, "--json", str(file))
    found = json.loads(file.read_text(encoding="utf-8"))
    return {f"{part}.{name}": float(found[name]) for name in FIGURES if name in found}


_SMALL = (
    *("--encoder-width", "128", "--encoder-layers", "2", "--decoder-width", "128", "--decoder-layers", "2"),
    *("--learning-rate", "1.5e-3", "--batch", "32", "--epochs", "24", "--dims", "6"),
)
_NOO = ("--method", "cryonoo", "--noo.warmup", "12", "--noo.expander", "64")
_PIXELS = (*_NOO, "--encoder", "pixels")

STUDIES = {
    "cryonoo-ablation": Study(
        "what each part of CryoNOO does for particles that it never saw",
        ("--recipe", "phantom-hinge-32", "--unseen", "0.2"),
        _SMALL,
        {
            "encoder of maps (default)": _NOO,
            "encoder of pixels": _PIXELS,
            "no distillation, of maps": ("--method", "cryodrgn", "--encoder", "maps"),
            "no distillation, of pixels": ("--method", "cryodrgn"),
            "no warm-up": (*_PIXELS, "--noo.warmup", "0"),
            "one view": (*_PIXELS, "--noo.factors", "1"),
            "five views": (*_PIXELS, "--noo.factors", "1", "1.5", "2", "2.5", "3"),
            "three views of one noise": (*_PIXELS, "--noo.factors", "1", "1", "1"),
            "noise from the shells": (*_PIXELS, "--noo.level", "shells"),
            "weight 0.001": (*_PIXELS, "--noo.weight", "0.001"),
            "weight 0.1": (*_PIXELS, "--noo.weight", "0.1"),
            "no expander": (*_PIXELS, "--noo.expander", "0"),
            "SimSiam": (*_PIXELS, "--noo.loss", "simsiam"),
            "invariance alone": (*_PIXELS, "--noo.loss", "invariance"),
            "frozen decoder": (*_PIXELS, "--noo.freeze-decoder"),
            "gradient through views": (*_PIXELS, "--noo.gradient-through-views"),
            "views in random poses": (*_PIXELS, "--noo.poses", "random"),
            "more noise in place of views": (*_PIXELS, "--noo.views", "noised"),
            "turned images in place of views": (*_PIXELS, "--noo.views", "turned"),
        },
    ),
    "cryoformer-ablation": Study(
        "what each part of CryoFormer does",
        ("--recipe", "phantom-hinge-32", "--box", "24", "--unseen", "0.2"),
        ("--method", "cryoformer", "--dims", "4", "--cryoformer.levels", "4", "--cryoformer.epochs", "6"),
        {
            "default": (),
            "encoder of pixels": ("--cryoformer.encoder", "pixels"),
            "no transformer": ("--cryoformer.decoder", "mlp"),
            "Fourier domain": ("--cryoformer.domain", "fourier"),
            "positional encoding": ("--cryoformer.encoding", "positional"),
            "N = C = 32": ("--cryoformer.queries", "32", "--cryoformer.channels", "32"),
            "N = C = 16": ("--cryoformer.queries", "16", "--cryoformer.channels", "16"),
            "N = 16": ("--cryoformer.queries", "16"),
            "two levels": ("--cryoformer.levels", "2"),
        },
        "--cryoformer.seed",
    ),
}
"""Tables by name."""
