"""Training is exact: resumed like uninterrupted, two processes like one, against a closed-form solution."""

import math
import signal
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from vitreous.errors import ConfigError, ConvergenceError
from vitreous.runs.checkpoint import Checkpointer
from vitreous.runs.shards import ShardOptions, export_shards, import_shards
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit
from vitreous.train.task import Callbacks


@dataclass(frozen=True)
class Line:
    """Fit y = 3x − 1 + noise, with dropout on request."""

    batch: int = 8
    dropout: float = 0.0
    rate: float = 0.05

    def module(self):
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    def optimizer(self, module):
        return torch.optim.Adam(module.parameters(), lr=self.rate)

    def scheduler(self, optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)

    def batches(self, first_step, rank):
        step = first_step
        while True:
            generator = torch.Generator().manual_seed(step)
            x = torch.randn(self.batch, 1, generator=generator)
            y = 3 * x - 1 + 0.1 * torch.randn(self.batch, 1, generator=generator)
            yield x[rank.number :: rank.of], y[rank.number :: rank.of]
            step += 1

    def training_step(self, module, batch):
        x, y = batch
        return {"loss": (module(x) - y).square().mean()}


class Linear(Line):
    """Plain linear regression on the same data, whose least-squares answer is known."""

    def module(self):
        return nn.Linear(1, 1)

    def scheduler(self, optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)


class Wide(Line):
    """A model that is larger than what a pipe between processes holds."""

    def module(self):
        return nn.Sequential(nn.Linear(1, 20_000), nn.Tanh(), nn.Linear(20_000, 1))


class Diverging(Line):
    def training_step(self, module, batch):
        return {"loss": module(batch[0]).mean() * math.nan}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_finds_the_line():
    found = fit(Linear(batch=64, rate=0.1), TrainConfig(steps=400, gradient_clip=None))
    assert found.parameters["weight"].item() == pytest.approx(3, abs=0.02)
    assert found.parameters["bias"].item() == pytest.approx(-1, abs=0.02)
    assert (found.step, found.stopped) == (400, "steps")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_resumed_run_ends_with_the_same_bits(tmp_path, precision):
    task, hardware = Line(dropout=0.2), Hardware(precision=precision)
    whole = fit(task, TrainConfig(steps=20, ema_decay=0.9), hardware)
    store = Callbacks(store=Checkpointer(tmp_path / "state.safetensors", {}))
    half = fit(task, TrainConfig(steps=10, ema_decay=0.9), hardware, store)
    resumed = fit(task, TrainConfig(steps=20, ema_decay=0.9), hardware, store)
    assert half.step == 10
    assert not same(half.parameters, whole.parameters)
    assert same(resumed.parameters, whole.parameters)
    assert same(resumed.averaged, whole.averaged)


def test_a_checkpoint_without_a_schedule_is_refused_where_there_is_one(tmp_path):
    class Constant(Line):
        def scheduler(self, optimizer):
            return None

    store = Callbacks(store=Checkpointer(tmp_path / "state.safetensors", {}))
    fit(Constant(), TrainConfig(steps=5), None, store)
    with pytest.raises(ConfigError, match="no schedule"):
        fit(Line(), TrainConfig(steps=10), None, store)


def test_average_follows_its_recurrence():
    decay = 0.9
    parameters = [fit(Line(), TrainConfig(steps=n)).parameters["1.bias"] for n in range(4)]
    expected = parameters[0]
    for value in parameters[1:]:
        expected = decay * expected + (1 - decay) * value
    found = fit(Line(), TrainConfig(steps=3, ema_decay=decay)).averaged["1.bias"]
    torch.testing.assert_close(found, expected)


def test_one_clipped_sgd_step_has_the_length_of_the_clip():
    class Plain(Linear):
        def optimizer(self, module):
            return torch.optim.SGD(module.parameters(), lr=1.0)

    before = fit(Plain(), TrainConfig(steps=0)).parameters
    after = fit(Plain(), TrainConfig(steps=1, gradient_clip=0.01)).parameters
    length = torch.stack([(after[n] - before[n]).square().sum() for n in before]).sum().sqrt()
    assert length.item() == pytest.approx(0.01, rel=1e-3)


def test_log_gives_means_over_its_interval():
    every, some = [], []
    fit(Line(), TrainConfig(steps=6, log_every=1), callbacks=Callbacks(log=every.append))
    fit(Line(), TrainConfig(steps=6, log_every=3), callbacks=Callbacks(log=some.append))
    assert [line["step"] for line in some] == [3, 6]
    losses = [line["loss"] for line in every]
    assert some[0]["loss"] == pytest.approx(sum(losses[:3]) / 3, rel=1e-5)
    assert some[1]["loss"] == pytest.approx(sum(losses[3:]) / 3, rel=1e-5)


def test_stops_when_the_time_is_over():
    found = fit(Line(), TrainConfig(steps=1_000_000, minutes=0.005))
    assert found.stopped == "minutes"
    assert 0 < found.step < 1_000_000


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ConvergenceError, match="by step 5"):
        fit(Diverging(), TrainConfig(steps=20, log_every=5))


class Kept:
    """A store in memory."""

    def __init__(self, state=None):
        self.state = state

    def save(self, tensors, values):
        self.state = {name: tensor.detach().clone() for name, tensor in tensors.items()}, values

    def load(self):
        return self.state


def rates(task, config, store):
    rows = []
    fit(task, config, callbacks=Callbacks(log=rows.append, store=store))
    return [row["learning_rate"] for row in rows]


@pytest.fixture
def without_moments(tmp_path):
    """State after 10 steps, carried without moments."""
    store = Kept()
    fit(Line(), TrainConfig(steps=10), callbacks=Callbacks(store=store))
    export_shards(tmp_path / "shards", *store.state, ShardOptions(moments="none"))
    return import_shards(tmp_path / "shards")


def test_rate_rises_after_the_optimiser_starts_anew_and_a_stop_does_not_matter(without_moments):
    """At step s of n after the restart the rate is (s + 1) / (n + 1) of what it is without one."""
    config = {"log_every": 1, "restart_steps": 4}
    plain = rates(Line(), TrainConfig(steps=18, **config), None)[10:]
    at_once = rates(Line(), TrainConfig(steps=18, **config), Kept(without_moments))
    ramp = [2 / 5, 3 / 5, 4 / 5, 1, 1, 1, 1, 1]
    assert at_once == pytest.approx([rate * share for rate, share in zip(plain, ramp, strict=True)])
    store = Kept(without_moments)
    assert rates(Line(), TrainConfig(steps=12, **config), store) + rates(
        Line(), TrainConfig(steps=18, **config), store
    ) == pytest.approx(at_once)


def test_first_step_of_a_new_optimiser_has_the_length_that_the_ramp_allows(without_moments):
    """Adam's first step is the full rate in every parameter; with n restart steps it is 1 / (n + 1) of that."""
    before = {name.removeprefix("module."): value for name, value in without_moments[0].items()}

    def moved(restart_steps):
        config = TrainConfig(steps=11, restart_steps=restart_steps, gradient_clip=None)
        after = fit(Line(), config, callbacks=Callbacks(store=Kept(without_moments))).parameters
        return torch.cat([(after[name] - before[name]).flatten() for name in sorted(after)])

    torch.testing.assert_close(moved(4), moved(0) / 5, rtol=1e-4, atol=1e-6)


def test_options_of_the_optimiser_are_those_of_the_leg():
    """A rate twice as high from the checkpoint on is, for SGD, twice the same step."""

    class Plain(Linear):
        def optimizer(self, module):
            return torch.optim.SGD(module.parameters(), lr=self.rate)

    store = Kept()
    before = fit(Plain(rate=0.1), TrainConfig(steps=5), callbacks=Callbacks(store=store)).parameters
    steps = []
    for rate in (0.1, 0.2):
        resumed = fit(Plain(rate=rate), TrainConfig(steps=6), callbacks=Callbacks(store=Kept(store.state)))
        assert resumed.first_step == 5
        steps.append(resumed.parameters["weight"] - before["weight"])
    torch.testing.assert_close(steps[1], 2 * steps[0])
    scheduled = rates(Plain(rate=0.2), TrainConfig(steps=8, log_every=1), Kept(store.state))
    assert scheduled == pytest.approx([0.2 * 0.99**step for step in (6, 7, 8)])


def test_average_that_starts_late_starts_at_the_parameters():
    store = Kept()
    fit(Line(), TrainConfig(steps=5), callbacks=Callbacks(store=store))
    found = fit(Line(), TrainConfig(steps=5, ema_decay=0.9), callbacks=Callbacks(store=store))
    assert same(found.averaged, found.parameters)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_training_after_a_step_with_a_checkpoint(number):
    def stop_at_7(row):
        if row["step"] == 7:
            signal.raise_signal(number)  # on this thread, at once: another may take a while on a busy machine

    def before(_number, _frame):
        pytest.fail("training did not take the signal")

    store, config = Kept(), TrainConfig(steps=20, log_every=1)
    outside = signal.signal(number, before)  # a shell's background jobs ignore SIGINT, and training then does, too
    try:
        found = fit(Line(), config, callbacks=Callbacks(stop_at_7, store))
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, outside)
    assert (found.stopped, found.step) == ("signal", 8)
    resumed = fit(Line(), config, callbacks=Callbacks(store=store))
    assert (resumed.stopped, resumed.first_step) == ("steps", 8)
    assert same(resumed.parameters, fit(Line(), config).parameters)


class Watched:
    """Progress that keeps what it was told."""

    def __init__(self):
        self.totals, self.done = [], 0

    @contextmanager
    def stage(self, what, total=None):
        self.totals.append(total)
        yield

    def advance(self, n=1):
        self.done += n

    def track(self, items, what, total=None):
        yield from items

    def message(self, text):
        pass


def test_bar_counts_the_leg_in_seconds_or_in_steps():
    store, by_steps, by_time = Kept(), Watched(), Watched()
    fit(Line(), TrainConfig(steps=5), callbacks=Callbacks(store=store))
    fit(Line(), TrainConfig(steps=12), callbacks=Callbacks(store=store, progress=by_steps))
    assert (by_steps.totals, by_steps.done) == ([7], 7)
    fit(Line(), TrainConfig(steps=10**9, minutes=1.1 / 60), callbacks=Callbacks(progress=by_time))
    assert (by_time.totals, by_time.done) == ([1], 1)


@pytest.mark.parametrize(
    "wrong", [{"steps": -1}, {"minutes": 0.0}, {"ema_decay": 1.0}, {"log_every": 0}, {"restart_steps": -1}]
)
def test_wrong_options_are_named(wrong):
    with pytest.raises(ConfigError, match="--"):
        TrainConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"devices": 0}, {"precision": "16-mixed"}])
def test_hardware_that_cannot_train_is_refused(wrong):
    with pytest.raises(ConfigError, match="--"):
        Hardware(**wrong)


def test_gpus_are_named_from_the_first():
    assert Hardware("cuda", devices=2, first_gpu=1).which == [1, 2]
    assert Hardware("cpu", devices=2).which == 2


@pytest.mark.slow
def test_two_processes_learn_what_one_learns():
    config = TrainConfig(steps=5, log_every=5, ema_decay=0.9)
    one = fit(Wide(rate=1e-3), config)
    two = fit(Wide(rate=1e-3), config, Hardware(devices=2))
    assert two.step == 5
    assert two.averaged.keys() == one.averaged.keys()
    for name, value in one.parameters.items():
        torch.testing.assert_close(two.parameters[name], value, atol=1e-5, rtol=1e-4)
