"""``vitreous pretrain``: train the pose network on simulated views, in legs of any length."""

import json
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import OmitArgPrefixes, Suppress

from vitreous.cli.changes import changes
from vitreous.cli.context import RunContext
from vitreous.cli.fine_tuning import Opened, StackOptions
from vitreous.cli.legs import (
    FREE_OPTIONS,
    History,
    Leg,
    TrainingCurve,
    export,
    hardware_of,
    processor_of,
    refuse_shards,
    take_up,
)
from vitreous.cli.options import Output, TrainingCommon
from vitreous.compute.device import resolve_device
from vitreous.compute.progress import SilentProgress
from vitreous.compute.threads import set_threads
from vitreous.errors import ConfigError
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.curriculum import CURRICULUM, Stage
from vitreous.methods.fastar.loss import LossConfig
from vitreous.methods.fastar.simulator import ViewConfig
from vitreous.methods.fastar.training import PretrainConfig, Pretraining, StepConfig
from vitreous.runs.manifest import Manifest, fingerprint
from vitreous.runs.store import RunFolder, is_run_folder, refuse_other_command, refuse_unusable
from vitreous.train.config import Hardware, TrainConfig

if TYPE_CHECKING:
    from vitreous.simulate.corpus import Corpus
    from vitreous.train.task import Trained

WEIGHTS = "weights.safetensors"
ENDLESS = 10**9
"""Number of steps of a run whose legs end by their minutes."""


@dataclass(frozen=True)
class Pretrain:
    """Train the pose network of `vitreous abinitio --method fastar` on simulated views of known structures.

    With --resume the next leg goes on from the folder's checkpoint, however the last one ended.
    """

    output: Output
    """Folder for the checkpoint, the training curve and the weights; with --resume, the one to go on in."""

    corpus: Path | None = None
    """Structures, a file of `vitreous corpus build`; random blobs alone when not given."""

    start: Path | None = None
    """Folder of shards (see --shards) to begin from, of the same network."""

    shards: Path | None = None
    """Folder in which every leg leaves its state as files of at most 15 MiB, to go on elsewhere with --start."""

    devices: int = 1
    """Processes that share every batch: one per GPU, or several on the CPU, which share --threads."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    step: OmitArgPrefixes[StepConfig] = field(default_factory=StepConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    real: OmitArgPrefixes[StackOptions] = field(default_factory=StackOptions)
    curriculum: Suppress[tuple[Stage, ...]] = CURRICULUM
    """What is simulated when; set it in a file for --config."""

    train: OmitArgPrefixes[TrainConfig] = field(
        default_factory=lambda: TrainConfig(steps=ENDLESS, ema_decay=0.999, checkpoint_minutes=3.0)
    )
    common: OmitArgPrefixes[TrainingCommon] = field(default_factory=TrainingCommon)

    def run(self, context: RunContext) -> None:
        """Read the structures, train one leg, leave checkpoint, weights and scores."""
        hardware = self._prepare(context)
        from vitreous.methods.fastar.corpus_scenes import trial_structures
        from vitreous.simulate.corpus import Corpus
        from vitreous.train.loop import fit
        from vitreous.train.task import Callbacks

        corpus = None if self.corpus is None else Corpus.load(self.corpus)
        if corpus is not None and not trial_structures(corpus, "validation"):
            context.warn("the corpus has no large asymmetric structure for validation: the weights are not scored")
        if self.common.resume and not self._goes_on:
            context.warn(f"{self.output} holds no run to go on with: a new one begins")
        stacks = self.real.opened(max(stage.views for stage in self.curriculum), self.train.seed, context)
        with self._folder(context) as folder:
            store, history = take_up(folder, self.start, self.model, self.step.batch_views)
            task = self._task(corpus, stacks, history)
            # bars of a terminal cannot be handed to other processes
            progress = context.progress() if self.devices == 1 else SilentProgress()
            trained = fit(task, self.train, hardware, Callbacks(TrainingCurve(folder.log, task), store, progress))
            if trained.step == trained.first_step:
                context.warn(f"nothing was left to do: --steps {self.train.steps}, and {trained.step} are done")
            history = history.with_leg(self._leg(context, task, trained, processor_of(hardware)))
            if self.shards is not None:
                export(self.shards, store, history)
            summary = {
                "steps": trained.step,
                "views": task.views_seen(trained.step),
                "seconds": time.monotonic() - context.started,
                "warnings": context.warnings,
                "legs": list(history.legs),
            }
            if trained.stopped == "signal":
                self._leave(folder, trained, summary, (corpus, stacks), scored=False)
                folder.write_summary({"verdict": "stopped", **summary})
                context.say(f"stopped after step {trained.step}; --resume goes on")
                raise KeyboardInterrupt
            figures = self._leave(folder, trained, summary, (corpus, stacks), scored=True)
            if figures:
                folder.log({"step": trained.step, **figures})
            folder.write_summary({"verdict": "done", **summary, "figures": figures})
            sys.stdout.write(json.dumps({"step": trained.step, **figures}) + "\n")

    @property
    def _goes_on(self) -> bool:
        """Whether there is an earlier leg to go on from."""
        return self.common.resume and is_run_folder(self.output)

    def _prepare(self, context: RunContext) -> Hardware:
        """Refuse what cannot work before anything is read, and set up the machine."""
        if self.train.minutes is None and self.train.steps >= ENDLESS:
            raise ConfigError("the leg has no end", remedy="Give --minutes, or --steps in all")
        if self.train.steps < 1:
            raise ConfigError("--steps must be at least 1", found=self.train.steps, remedy="Give --steps or --minutes")
        if self.devices < 1 or self.step.chunks % self.devices:
            raise ConfigError(
                "--devices must divide --chunks",
                expected=f"a divisor of {self.step.chunks}",
                found=self.devices,
                remedy="Change --devices or --chunks",
            )
        device = resolve_device(self.common.device)
        accelerator: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
        hardware = Hardware(accelerator, self.devices, self.common.precision, device.index or 0)
        set_threads(self.common.threads)
        if not self._goes_on:
            refuse_unusable(self.output, overwrite=self.common.overwrite)
        else:
            refuse_other_command(self.output, context.name)
            if self.start is not None and RunFolder.resume(self.output).checkpoint.exists():
                raise ConfigError(
                    "--start is where a new run begins, and this one has a checkpoint",
                    remedy="Leave --start out, or choose another -o",
                    path=self.output,
                )
        if self.shards is not None:
            refuse_shards(self.shards, self.model, self.output)
        return hardware

    def _folder(self, context: RunContext) -> RunFolder:
        """Open the folder of an earlier leg and say in what this one differs, or make a new one."""
        read = [path for path in (self.corpus, *self.real.stacks) if path is not None]
        inputs = tuple(fingerprint(path) for path in read)
        now = Manifest(context.name, context.command, context.config, seed=self.train.seed, inputs=inputs)
        if not self._goes_on:
            return RunFolder.create(self.output, now, overwrite=self.common.overwrite)
        earlier = Manifest.read(self.output)
        if self.corpus is None and earlier.config.get("corpus"):
            raise ConfigError(
                "this run trains on a corpus, and --corpus is not given",
                expected=f"--corpus {earlier.config['corpus']}",
                remedy="Give --corpus with --resume too; a run on random blobs alone needs another -o",
                path=self.output,
            )
        found = changes(earlier, now, FREE_OPTIONS)
        if found:
            context.warn(f"this leg differs from the manifest of {self.output} in {', '.join(found)}")
        return RunFolder.resume(self.output)

    def _task(self, corpus: "Corpus | None", stacks: Opened, history: History) -> Pretraining:
        from vitreous.methods.fastar.corpus_scenes import training_scenes
        from vitreous.methods.fastar.stack_views import PosedStacks

        curriculum = self.real.curriculum_with(self.curriculum)
        parts = tuple(part for part, _ in stacks.values())
        return Pretraining(
            PretrainConfig(self.model, self.loss, self.step, self.views, curriculum),
            None if corpus is None else training_scenes(corpus),
            PosedStacks(parts, self.model.box, self.views) if parts else None,
            self.train.seed,
            history.batch_sizes,
        )

    def _leg(self, context: RunContext, task: Pretraining, trained: "Trained", processor: str) -> Leg:
        seconds = time.monotonic() - context.started
        return Leg(
            trained.first_step,
            trained.step,
            task.views_seen(trained.step) - task.views_seen(trained.first_step),
            round(seconds, 1),
            processor,
            (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            trained.stopped,
        )

    def _leave(
        self,
        folder: RunFolder,
        trained: "Trained",
        summary: dict[str, Any],
        judged_by: "tuple[Corpus | None, Opened]",
        *,
        scored: bool,
    ) -> dict[str, float]:
        """Write the averaged weights, and return what they reach; nobody waits for scores of a leg that was stopped."""
        from vitreous.io.weights import save_weights
        from vitreous.methods.fastar.published import card_of, network_of, scores_of
        from vitreous.methods.fastar.stack_views import score_stack

        corpus, stacks = judged_by
        network = network_of(self.model, trained.averaged or trained.parameters)
        figures = scores_of(network, corpus) if scored else {}
        for name, (_, part) in stacks.items() if scored else ():
            scores = score_stack(network, part, self.train.seed) if len(part.poses) else {}
            figures |= {f"{name} {measure}": round(value, 4) for measure, value in scores.items()}
        facts = {
            "steps": trained.step,
            "views": summary["views"],
            "training_data": ", ".join(["random blobs", *([self.corpus.name] if self.corpus else []), *stacks]),
            "hardware": hardware_of(summary["legs"]),
            "date": datetime.now(UTC).date().isoformat(),
            "figures": figures,
        }
        card = card_of(self.model, facts)
        save_weights(folder.path / WEIGHTS, network.state_dict(), card, max_bytes=sys.maxsize)
        return figures
