"""``vitreous pretrain``: train the pose network on simulated views, in legs of any length."""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import OmitArgPrefixes, Suppress

from vitreous.cli.context import RunContext
from vitreous.cli.options import Common, Output
from vitreous.compute.device import resolve_device
from vitreous.compute.threads import set_threads
from vitreous.errors import ConfigError
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.curriculum import CURRICULUM, Stage
from vitreous.methods.fastar.loss import LossConfig
from vitreous.methods.fastar.simulator import ViewConfig
from vitreous.methods.fastar.training import PretrainConfig, StepConfig
from vitreous.runs.checkpoint import Checkpointer
from vitreous.runs.manifest import Manifest, fingerprint
from vitreous.runs.store import RunFolder, is_run_folder, refuse_unusable
from vitreous.train.config import TrainConfig

if TYPE_CHECKING:
    from vitreous.methods.fastar.training import Pretraining
    from vitreous.train.task import Trained


@dataclass(frozen=True)
class Pretrain:
    """Train the pose network of `vitreous abinitio --method fastar` on simulated views of known structures."""

    output: Output
    """Folder for the checkpoint, the training curve and the weights; with --resume, the one to go on in."""

    corpus: Path | None = None
    """Structures, a file of `vitreous corpus build`; random blobs alone when not given."""

    start: Path | None = None
    """Folder of shards (see --shards) to begin from, of the same architecture."""

    shards: Path | None = None
    """Folder in which to leave the checkpoint as files of at most 15 MiB, to go on elsewhere."""

    devices: int = 1
    """Processes that share every batch: one per GPU, or several on the CPU."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    step: OmitArgPrefixes[StepConfig] = field(default_factory=StepConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    curriculum: Suppress[tuple[Stage, ...]] = CURRICULUM
    """What is simulated when; set it in a file for --config."""

    train: OmitArgPrefixes[TrainConfig] = field(
        default_factory=lambda: TrainConfig(steps=10**9, ema_decay=0.999, checkpoint_minutes=3.0)
    )
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the corpus, train one leg, leave checkpoint, weights and scores."""
        if self.train.minutes is None and self.train.steps >= 10**9:
            raise ConfigError("the leg has no end", remedy="Give --minutes, or --steps in all")
        device = resolve_device(self.common.device)
        set_threads(self.common.threads)
        folder, store = self._folder(context)
        from vitreous.methods.fastar.corpus_scenes import training_scenes
        from vitreous.methods.fastar.training import Pretraining
        from vitreous.simulate.corpus import Corpus
        from vitreous.train.config import Hardware
        from vitreous.train.loop import fit
        from vitreous.train.task import Callbacks

        corpus = None if self.corpus is None else Corpus.load(self.corpus)
        config = PretrainConfig(self.model, self.loss, self.step, self.views, self.curriculum)
        task = Pretraining(config, None if corpus is None else training_scenes(corpus), seed=self.train.seed)
        hardware = Hardware(device.type, self.devices, self.common.precision)  # type: ignore[arg-type]
        trained = fit(task, self.train, hardware, Callbacks(folder.log, store, context.progress()))
        self._leave(context, folder, task, trained, corpus)

    def _folder(self, context: RunContext) -> tuple[RunFolder, Checkpointer]:
        inputs = [] if self.corpus is None else [fingerprint(self.corpus)]
        going_on = self.common.resume and is_run_folder(self.output)
        if not going_on:
            refuse_unusable(self.output, overwrite=self.common.overwrite)
        manifest = Manifest(
            context.name, context.command, context.config, seed=self.train.seed, inputs=tuple(inputs), notes=()
        )
        folder = (
            RunFolder.resume(self.output)
            if going_on
            else RunFolder.create(self.output, manifest, overwrite=self.common.overwrite)
        )
        store = Checkpointer(folder.checkpoint, {"network": json.dumps(asdict(self.model))})
        if self.start is not None and not folder.checkpoint.exists():
            from vitreous.runs.shards import import_shards

            store.save(*import_shards(self.start))
        return folder, store

    def _leave(
        self, context: RunContext, folder: RunFolder, task: "Pretraining", trained: "Trained", corpus: Any
    ) -> None:
        from vitreous.evaluate.records import describe_machine
        from vitreous.io.weights import save_weights
        from vitreous.methods.fastar.published import card_of, network_of, scores_of
        from vitreous.runs.shards import ShardOptions, export_shards

        hardware = describe_machine()
        processor = f"{self.devices * hardware['threads']} threads of {hardware['processor']}"
        average = trained.averaged or trained.parameters
        network = network_of(self.model, average)
        figures = scores_of(network, corpus)
        facts = {
            "steps": trained.step,
            "views": trained.step * self.step.batch_views,
            "training_data": "random blobs" if self.corpus is None else f"random blobs and {self.corpus.name}",
            "hardware": hardware["gpu"] or processor,
            "date": datetime.now(UTC).date().isoformat(),
            "figures": figures,
        }
        save_weights(folder.path / "weights.safetensors", network.state_dict(), card_of(self.model, facts))
        if self.shards is not None:
            loaded = Checkpointer(folder.checkpoint, {"network": json.dumps(asdict(self.model))}).load()
            if loaded is not None:
                export_shards(self.shards, *loaded, ShardOptions())
        folder.log({"step": trained.step, **figures})
        folder.write_summary({"verdict": "done", "seconds": time.monotonic() - context.started, **facts})
        sys.stdout.write(json.dumps({"step": trained.step, **figures}) + "\n")
