"""Pre-training as a task: one batch however many processes share it, and exact resume."""

import json
import math
from dataclasses import dataclass, replace

import pytest
import torch

from tests.methods.fastar.small import LINES
from vitreous.compute.processes import Rank
from vitreous.methods.fastar import training
from vitreous.methods.fastar.curriculum import Stage
from vitreous.methods.fastar.scenes import Blobs, Scenes
from vitreous.methods.fastar.simulator import ViewConfig, simulate_views
from vitreous.methods.fastar.training import PretrainConfig, Pretraining, StepConfig
from vitreous.runs.checkpoint import Checkpointer
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks

STAGES = (
    Stage(2000, views=4, snr=(1.0, 50.0)),
    Stage(4000, views=8, snr=(0.2, 10.0), ctf=0.8, shift=0.08, rate=0.5),
)
CONFIG = PretrainConfig(
    model=LINES,
    step=StepConfig(batch_views=16, chunks=2, warm_up=4, decay=50),
    views=ViewConfig(beads=60),
    curriculum=STAGES,
)
TASK = Pretraining(CONFIG, seed=3, batch_sizes=((0, 1000),))
"""As if a step had 1000 views, so that the curriculum is through after six."""
EXACT = TrainConfig(steps=8, log_every=1, ema_decay=0.9, checkpoint_minutes=1e-9)


@dataclass(frozen=True)
class PlainDescent(Pretraining):
    """Adam divides by the size of the gradient, and makes much of rounding where that is zero."""

    def optimizer(self, module):
        return torch.optim.SGD(module.parameters(), lr=0.1)


def tensors_of(views_and_truth) -> list[torch.Tensor]:
    return [tensor for part in views_and_truth for tensor in vars(part).values()]


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("step", [0, 17])
def test_batch_does_not_depend_on_the_number_of_processes(processes: int, step: int) -> None:
    task = replace(TASK, config=replace(CONFIG, step=replace(CONFIG.step, batch_views=32, chunks=4)))
    whole = next(task.batches(step, Rank(0, 1)))
    assert whole == [(step, chunk) for chunk in range(4)]
    shares = [next(task.batches(step, Rank(k, processes))) for k in range(processes)]
    together = sorted(pair for share in shares for pair in share)
    assert together == whole
    alone = {pair: tensors_of(task.simulate([pair])) for pair in whole}
    for k, tensor in enumerate(tensors_of(task.simulate(whole))):
        assert torch.equal(tensor, torch.cat([alone[pair][k] for pair in whole]))


def test_no_two_chunks_are_alike() -> None:
    found = [TASK.simulate([(step, chunk)])[0].images[0] for step in range(3) for chunk in range(2)]
    found.append(replace(TASK, seed=4).simulate([(0, 0)])[0].images[0])
    for k, first in enumerate(found):
        for second in found[:k]:
            assert abs(float((first * second).sum() / (first.norm() * second.norm()))) < 0.8


def test_batches_go_on_at_any_step() -> None:
    stream = TASK.batches(0, Rank())
    expected = [next(stream) for _ in range(6)]
    later = TASK.batches(4, Rank())
    assert [next(later), next(later)] == expected[4:]


@pytest.mark.parametrize("batch_views", [16, 40])
def test_batches_have_the_stated_views_on_average(batch_views: int) -> None:
    stage = Stage(10**9, views=12)
    config = replace(CONFIG, curriculum=(stage,), step=replace(CONFIG.step, batch_views=batch_views))
    task = replace(TASK, config=config)
    sets = [task.sets(step) for step in range(800)]
    mean = 12 * 2 * sum(sets) / 800
    assert mean == pytest.approx(max(batch_views, 24), rel=0.05)
    assert task.simulate([(0, 1)])[0].images.shape[:2] == (sets[0], 12)


def test_curriculum_counts_the_views_of_all_legs() -> None:
    task = replace(TASK, batch_sizes=((0, 16), (10, 64)))
    assert [task.views_seen(step) for step in (0, 10, 11, 20)] == [0, 160, 224, 800]
    assert replace(TASK, batch_sizes=()).views_seen(20) == 320
    assert task.moment(10).stage == TASK.moment(0).stage
    assert TASK.moment(6).stage == STAGES[1]


def test_whether_there_is_a_ctf_says_nothing_about_the_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every quantity has random numbers of its own: the first ones of scenes and noise do not tell the CTF."""
    first_draws, ctfs = [], []

    @dataclass(frozen=True)
    class Recording:
        def on(self, device: object, composite: float) -> "Recording":
            return self

        def draw(self, n: int, beads: int, generator: torch.Generator) -> Scenes:
            first_draws.append(float(torch.rand((), generator=generator)))
            return Blobs().draw(n, beads, generator)

    def simulate(scenes, config, box, generator):
        ctfs.append(config.ctf)
        return simulate_views(scenes, config, box, generator)

    monkeypatch.setattr(training, "simulate_views", simulate)
    stage = Stage(10**9, views=8, ctf=0.5, corpus=1.0)
    task = replace(TASK, config=replace(CONFIG, curriculum=(stage,), views=ViewConfig(beads=2)))
    object.__setattr__(task, "corpus", Recording())
    task.simulate([(step, 0) for step in range(70)])
    correlation = torch.corrcoef(torch.tensor([first_draws, [float(ctf) for ctf in ctfs]]))[0, 1]
    assert abs(float(correlation)) < 0.3
    assert sum(ctfs) / 70 == pytest.approx(0.5, abs=0.15)


def test_rate_warms_up_and_falls_with_the_stage() -> None:
    module = TASK.module()
    optimizer = TASK.optimizer(module)
    scheduler = TASK.scheduler(optimizer)
    rates = []
    for _ in range(12):
        rates.append(scheduler.get_last_lr()[0] / CONFIG.step.learning_rate)
        optimizer.step()
        scheduler.step()
    ramp = [0.25, 0.5, 0.75, *[1.0] * 9]
    stage = [1, 1, 1, 0.875, 0.75, 0.625, *[0.5] * 6]
    decay = [1 / math.sqrt(1 + k / 50) for k in range(12)]
    assert rates == pytest.approx([a * b * c for a, b, c in zip(ramp, stage, decay)])


def test_only_matrices_decay() -> None:
    module = TASK.module()
    optimizer = TASK.optimizer(module)
    assert optimizer.param_groups[1]["weight_decay"] == 0
    assert all(p.ndim < 2 for p in optimizer.param_groups[1]["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))


def curve(lines: list) -> list[tuple]:
    return [(line["step"], line["loss"], line["slice"], line["shift"], line["learning_rate"]) for line in lines]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_killed_leg_resumes_with_the_same_curve_and_bits(tmp_path, precision: str) -> None:
    hardware = Hardware(precision=precision)
    whole_lines: list = []
    whole = fit(TASK, EXACT, hardware, Callbacks(log=whole_lines.append))
    store, lines = Checkpointer(tmp_path / "state.safetensors", {}), []

    def log_and_die(line) -> None:
        if line["step"] == 5:  # the step is done, its checkpoint is not written
            raise KeyboardInterrupt
        lines.append(line)

    with pytest.raises(KeyboardInterrupt):
        fit(TASK, EXACT, hardware, Callbacks(log=log_and_die, store=store))
    resumed = fit(TASK, EXACT, hardware, Callbacks(log=lines.append, store=store))
    assert resumed.first_step == 4
    assert json.dumps(curve(lines)) == json.dumps(curve(whole_lines))
    for found, expected in ((resumed.parameters, whole.parameters), (resumed.averaged, whole.averaged)):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_same_seed_gives_the_same_training_and_another_does_not() -> None:
    config = TrainConfig(steps=2)
    first, again = (fit(TASK, config).parameters for _ in range(2))
    other = fit(replace(TASK, seed=4), config).parameters
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_lowers_the_loss() -> None:
    """One structure-free batch after the other: what is learned is the confidence and the scale of the maps."""
    lines: list = []
    stage = Stage(10**9, views=8, snr=(10.0, 100.0))
    step = StepConfig(batch_views=32, chunks=1, warm_up=1, learning_rate=3e-3)
    fit(replace(TASK, config=replace(CONFIG, curriculum=(stage,), step=step)), TrainConfig(steps=24, log_every=8),
        callbacks=Callbacks(log=lines.append))  # fmt: skip
    losses = [line["loss"] for line in lines]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_two_processes_move_the_parameters_as_one_does() -> None:
    """Plain descent without clipping: the way travelled is the sum of the gradients."""
    task = PlainDescent(replace(CONFIG, step=replace(CONFIG.step, warm_up=1)), seed=3)
    config = TrainConfig(steps=2, gradient_clip=None)
    start = fit(task, replace(config, steps=0)).parameters
    one, two = (fit(task, config, Hardware(devices=devices)).parameters for devices in (1, 2))
    for name, value in one.items():
        moved = value - start[name]
        torch.testing.assert_close(
            two[name] - start[name], moved, rtol=1e-3, atol=1e-6 + 1e-4 * float(moved.abs().max())
        )
    assert any(float((value - start[name]).abs().max()) > 1e-3 for name, value in one.items())
