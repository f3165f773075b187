"""The hand-over from the amortised network to the search, and what is kept of its training."""

import json
from dataclasses import replace

import pytest
import torch

from tests.methods.moving_blobs import moving_blobs
from vitreous.cli import amortised
from vitreous.cli.abinitio import AbInitio
from vitreous.cli.amortised import NETWORK_LEFT, Amortised, HeldState, amortised_then_search, estimate_training
from vitreous.cli.context import RunContext
from vitreous.cli.main import main
from vitreous.cli.networks import MethodRun
from vitreous.cli.options import Basic
from vitreous.compute.progress import SilentProgress
from vitreous.data import Result, SilentJournal
from vitreous.errors import ConfigError, InputError
from vitreous.io import open_particles
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.method import CryoAI
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.method import START_LEFT
from vitreous.methods.search.stages import Stages

SMALL = CryoAIConfig(volume="voxels", channels=2, batch=16, steps=4, round_steps=2)


class Memory:
    """A journal in memory that a run can be taken up from."""

    def __init__(self) -> None:
        self.saved, self.lines = None, []

    def log(self, metrics) -> None:
        self.lines.append(dict(metrics))

    def save(self, tensors, values) -> None:
        self.saved = {name: value.clone() for name, value in tensors.items()}, dict(values)

    def load(self):
        return self.saved


def hand_over(
    monkeypatch, journal, config: CryoAIConfig = SMALL, *, box: int = 24, start_A: float = 15.0, **asked: object
) -> tuple[Result, list]:
    """Run with a recorder for the search; ``alone`` leaves the search out, ``says`` is what it warns of."""
    calls = []
    alone, says = asked.get("alone", False), asked.get("says", "from the search")

    class Judge:
        def __init__(self, config: SearchConfig) -> None:
            self.config = config

        def run(self, particles, *_: object, starts: object = None) -> Result:
            calls.append((self.config, particles, starts))
            return Result(verdict="solved", warnings=(says,))

    monkeypatch.setattr(amortised, "get", {"cryoai": CryoAI, "search": Judge}.__getitem__)
    run = MethodRun(moving_blobs(120, box).particles, SilentProgress(), None, journal)
    network = Amortised(config, "cpu", alone)
    context = RunContext("abinitio", (), {}, Basic(quiet=True))
    return amortised_then_search(run, network, SearchConfig(seed=7, start_A=start_A), context), calls


def test_the_search_begins_from_the_networks_poses(monkeypatch) -> None:
    journal = Memory()
    result, [(config, particles, starts)] = hand_over(monkeypatch, journal)
    assert len(starts) == len(particles) == 120
    assert config.seed == 7
    assert result.verdict == "solved"
    assert result.warnings[0] == "from the search"
    assert result.metrics["network_steps"] == 4
    assert result.metrics["network_used"] == 1
    assert [line["step"] for line in journal.lines if line["stage"] == "training"] == [2, 4]


def test_the_network_alone_does_not_search(monkeypatch) -> None:
    result, calls = hand_over(monkeypatch, SilentJournal(), alone=True)
    assert calls == []
    assert result.verdict == "ambiguous"


def test_a_cut_off_that_does_not_fit_is_refused_before_training(monkeypatch) -> None:
    journal = Memory()
    with pytest.raises(ConfigError, match="--start"):
        hand_over(monkeypatch, journal, start_A=1000.0)
    with pytest.raises(InputError, match="at least 24 px"):
        hand_over(monkeypatch, journal, box=16)
    assert journal.lines == []


def test_poses_that_the_search_left_are_said_to_be_the_networks(monkeypatch) -> None:
    result, _ = hand_over(monkeypatch, Memory(), says=START_LEFT)
    assert result.warnings[0] == NETWORK_LEFT
    assert result.metrics["network_used"] == 0


def test_training_that_its_minutes_ended_is_over_when_the_run_goes_on(monkeypatch) -> None:
    journal, brief = Memory(), replace(SMALL, steps=100_000, round_steps=50_000, minutes=0.01)
    first, _ = hand_over(monkeypatch, journal, brief)
    lines = list(journal.lines)
    again, _ = hand_over(monkeypatch, journal, brief)
    assert journal.lines == lines
    assert first.metrics == again.metrics
    assert first.warnings == again.warnings
    assert 0 < first.metrics["network_steps"] < 50_000
    assert first.metrics["network_explained"] == pytest.approx(lines[0]["explained"], abs=1e-5)


def test_a_finished_training_is_not_done_again_and_the_searchs_stages_stay(monkeypatch) -> None:
    journal = Memory()
    _, [(_, _, first)] = hand_over(monkeypatch, journal)
    Stages(journal).keep("starts", {"map1": torch.ones(2)})
    steps = [line for line in journal.lines if line["stage"] == "training"]
    _, [(_, _, second)] = hand_over(monkeypatch, journal)
    assert [line for line in journal.lines if line["stage"] == "training"] == steps
    assert torch.equal(first.rotations, second.rotations)
    assert torch.equal(Stages(journal).get("starts")["map1"], torch.ones(2))


def test_a_state_comes_back_from_the_journal_as_it_was() -> None:
    journal = Memory()
    state = HeldState(journal)
    state.save({"module.a": torch.tensor([1.5])}, {"step": 3, "rates": [0.1]})
    assert journal.load() is None
    state.write()
    again = HeldState(journal)
    tensors, values = again.load()
    assert 0 < again.earlier_minutes < 1
    assert list(tensors) == ["module.a"]
    assert (float(tensors["module.a"]), values) == (1.5, {"step": 3, "rates": [0.1]})


def test_options_of_the_network_need_the_method(tmp_path) -> None:
    plain = AbInitio(tmp_path / "a.star", tmp_path / "out")
    for changes in (
        {"cryoai": CryoAIConfig(heads=2)},
        {"network_only": True},
    ):
        with pytest.raises(ConfigError, match="--method cryoai"):
            replace(plain, **changes)
        assert replace(plain, method="cryoai", **changes).method == "cryoai"
    for changes in ({}, {"method": "cryoai", "network_only": True}, {"method": "fastar"}):
        with pytest.raises(ConfigError, match="--start-A is where a start is cut off"):
            replace(plain, search=SearchConfig(start_A=20.0), **changes)
    assert replace(plain, search=SearchConfig(start_A=20.0), method="cryoai").search.start_A == 20
    with pytest.raises(ConfigError, match="is a start"):
        replace(plain, method="cryoai", map=tmp_path / "map.mrc")


def test_an_option_without_its_prefix_is_known(tmp_path, capsys) -> None:
    words = ["abinitio", str(tmp_path / "a.star"), "-o", str(tmp_path / "out"), "--method", "cryoai"]
    assert main([*words, "--minutes", "1"]) == 2
    assert "Did you mean --cryoai.minutes" in capsys.readouterr().err


def test_the_estimate_grows_with_what_is_asked_for_and_not_beyond_the_minutes() -> None:
    def seconds(count: int = 0, **changes: object) -> float:
        return estimate_training(CryoAIConfig(**changes), count, 64, "cpu").core_seconds

    assert seconds(steps=2000) == pytest.approx(2 * seconds(steps=1000))
    assert seconds(loss="mirrored") > seconds(loss="symmetric") > seconds(loss="l2")
    assert seconds(volume="voxels") < seconds(volume="fouriernet")
    assert seconds(encoder="mlp") < seconds(encoder="cnn")
    assert seconds(minutes=0.1) == pytest.approx(6 * torch.get_num_threads())
    assert seconds(1000, minutes=0.1) > seconds(minutes=0.1)
    assert seconds() == seconds(steps=100_000)


def test_the_command_trains_and_writes_a_run(tmp_path, capsys) -> None:
    stack, folder = tmp_path / "stack", tmp_path / "run"
    assert main(["simulate", "phantom", "--n", "100", "--box", "24", "--snr", "1", "-o", str(stack), "--quiet"]) == 0
    words = ["abinitio", str(stack / "particles.star"), "-o", str(folder), "--method", "cryoai", "--network-only"]
    small = ["--cryoai.volume", "voxels", "--cryoai.channels", "2", "--cryoai.steps", "4", "--cryoai.round-steps", "2"]
    assert main([*words, *small]) == 0
    assert capsys.readouterr().out.startswith("ambiguous")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["network_steps"] == 4
    assert summary["particles"] == len(open_particles(folder / "particles.star").poses) == 100
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["stage"] == "training"] == [2, 4]
