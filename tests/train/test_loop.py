"""Training is exact: resumed like uninterrupted, two processes like one, against a closed-form solution."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from vitreous.errors import ConfigError, ConvergenceError
from vitreous.runs.checkpoint import Checkpointer
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


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"minutes": 0.0}, {"ema_decay": 1.0}, {"log_every": 0}])
def test_wrong_options_are_named(wrong):
    with pytest.raises(ConfigError, match="--"):
        TrainConfig(**wrong)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns():
    config = TrainConfig(steps=5, log_every=5)
    one = fit(Line(), config)
    two = fit(Line(), config, Hardware(devices=2))
    assert two.step == 5
    for name, value in one.parameters.items():
        torch.testing.assert_close(two.parameters[name], value, atol=1e-5, rtol=1e-4)
