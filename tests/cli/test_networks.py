"""The hand-over from the pose network to the search, with both replaced by recorders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitreous.cli import networks
from vitreous.cli.context import RunContext
from vitreous.cli.networks import SHIPPED_SHA256, MethodRun, Network, network_then_search, shipped_weights
from vitreous.cli.options import Basic
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Optics, Particles, Result, SilentJournal, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.io.weights import save_weights
from vitreous.methods.fastar.config import FrameConfig, ModelConfig
from vitreous.methods.fastar.method import Proposal
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.published import card_of, load_network
from vitreous.methods.search.config import SearchConfig

SMALL = ModelConfig(width=32, heads=2, encoder_depth=1, decoder_depth=1, maps=0)
MAPS = (Volume(torch.zeros(8, 8, 8), 2.0), Volume(torch.ones(8, 8, 8), 2.0))
FACTS = {"training_data": "none", "steps": 1, "views": 64, "figures": {}, "date": "2026-01-01", "hardware": "none"}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, PoseNetwork(SMALL).state_dict(), card_of(SMALL, FACTS))
    return path


@pytest.fixture
def run() -> MethodRun:
    ids = np.array([f"{i + 1}@a.mrcs" for i in range(4)])
    particles = Particles(ArraySource(torch.zeros(4, 8, 8), 2.0), Optics.without_ctf(4), ids)
    return MethodRun(particles, SilentProgress(), None, SilentJournal())


def hand_over(monkeypatch, verdict: str, network: Network, run: MethodRun) -> tuple[Result, list, list[str]]:
    """Run with a network that returns ``verdict``; return the result, the calls of the search and what was said."""
    calls, said = [], []
    half_sets = torch.tensor([1, 2, 1, 2])
    metrics = {"diameter_A": 123.0, "network_agreement_shell": 5.0}
    proposal = Proposal(MAPS, half_sets, 5.0, verdict, ("its reason",), ("from the network",), metrics)

    class Proposer:
        def __init__(self, loaded: PoseNetwork, config) -> None:
            assert isinstance(loaded, PoseNetwork)

        def run(self, *_: object) -> Result:
            return Result(verdict=verdict, warnings=("from the network alone",))

        def propose(self, *_: object) -> Proposal:
            return proposal

    class Judge:
        def __init__(self, config: SearchConfig) -> None:
            self.config = config

        def run(self, particles: Particles, *_: object, starts: object = None) -> Result:
            calls.append((self.config, particles, starts))
            return Result(verdict="solved", warnings=("from the search",))

    context = RunContext("abinitio", (), {}, Basic())
    monkeypatch.setattr(RunContext, "say", lambda _, text: said.append(text))
    monkeypatch.setattr(networks, "get", {"fastar": Proposer, "search": Judge}.__getitem__)
    return network_then_search(run, network, SearchConfig(seed=7), context), calls, said


def test_a_confident_network_gives_the_search_its_maps_halves_and_diameter(monkeypatch, weights, run) -> None:
    result, [(config, particles, starts)], _ = hand_over(
        monkeypatch, "solved", Network(weights, FrameConfig(), alone=False), run
    )
    assert starts.maps is MAPS
    assert starts.agreement_shell == 5.0
    assert particles.half_sets.tolist() == [1, 2, 1, 2]
    assert (config.diameter_A, config.seed) == (123.0, 7)
    assert result.metrics["network_agreement_shell"] == 5.0
    assert result.warnings == ("from the search", "from the network")


def test_an_unsure_network_is_told_and_the_search_begins_at_random(monkeypatch, weights, run) -> None:
    result, [(_, particles, starts)], said = hand_over(
        monkeypatch, "failed", Network(weights, FrameConfig(), alone=False), run
    )
    assert starts is None
    assert particles.half_sets is None
    assert any("not confident" in line for line in said)
    assert {"from the network", "its reason"} < set(result.warnings)


def test_the_network_alone_does_not_search(monkeypatch, weights, run) -> None:
    result, calls, _ = hand_over(monkeypatch, "failed", Network(weights, FrameConfig(), alone=True), run)
    assert calls == []
    assert (result.verdict, result.warnings) == ("failed", ("from the network alone",))


def test_the_weights_in_the_package_are_those_that_the_code_names() -> None:
    _, card = load_network(shipped_weights(), SHIPPED_SHA256)
    assert card.licence == "BSD-3-Clause"
    assert card.images > 0
    with pytest.raises(InputError):
        load_network(shipped_weights(), "0" * 64)


def test_an_installation_without_weights_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(networks, "files", lambda _: tmp_path)
    with pytest.raises(ConfigError, match="--weights"):
        shipped_weights()


def test_options_of_the_network_need_the_network(tmp_path) -> None:
    from vitreous.cli.abinitio import AbInitio

    plain = AbInitio(tmp_path / "a.star", tmp_path / "out")
    with pytest.raises(ConfigError, match="--method fastar"):
        replace(plain, network_only=True)
    assert replace(plain, network_only=True, method="fastar").network_only
    with pytest.raises(ConfigError, match="--method fastar"):
        replace(plain, network=FrameConfig(passes=1))
    with pytest.raises(ConfigError, match="--symmetry"):
        replace(plain, network_only=True, method="fastar", search=SearchConfig(symmetry="D2"))
