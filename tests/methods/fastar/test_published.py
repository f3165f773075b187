"""Published weights give the same network again, and say what they are."""

from dataclasses import asdict, replace

import pytest
import torch

from tests.methods.fastar.small import BOTH, LINES, network_of, random_views
from vitreous.errors import ConfigError, InputError
from vitreous.io.weights import save_weights
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.published import card_of, load_network, refuse_other_network
from vitreous.methods.fastar.published import network_of as network_from
from vitreous.methods.fastar.training import PretrainConfig, Pretraining

FACTS = {
    "training_data": "random blobs",
    "steps": 1200,
    "views": 76_800,
    "hardware": "one core, 9 min",
    "date": "2026-11-21",
    "figures": {"SNR 1 fnorm_median": 0.9},
}


@pytest.mark.parametrize("kind", BOTH)
@torch.no_grad()
def test_round_trip_rounds_to_half_precision_and_nothing_else(kind: str, tmp_path, generator: torch.Generator) -> None:
    config = replace(BOTH[kind], decoder_width=16)
    network = network_of(config)
    path = tmp_path / "w.safetensors"
    saved = save_weights(path, network.state_dict(), card_of(config, FACTS))
    loaded, card = load_network(path, saved.sha256)
    assert card == saved
    assert loaded.config == config
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name
    views = random_views(generator, config)
    first, second = network(views)[-1], loaded(views)[-1]
    torch.testing.assert_close(second.slices, first.slices, atol=0.02, rtol=0.02)


def test_card_tells_what_was_trained_on_what() -> None:
    card = card_of(LINES, FACTS)
    assert (card.steps, card.images, card.hardware) == (1200, 76_800, "one core, 9 min")
    assert card.figures == FACTS["figures"]
    assert card.licence == "BSD-3-Clause"
    assert ModelConfig(**card.architecture) == LINES


def test_network_of_a_training_state_is_the_one_that_was_trained() -> None:
    module = Pretraining(PretrainConfig(model=LINES)).module()
    found = network_from(LINES, module.state_dict())
    for name, value in module.network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


@pytest.mark.parametrize(
    "wrong", [{"colour": "red"}, {**asdict(LINES), "width": 64}, {**asdict(LINES), "decoder_depth": 3}]
)
def test_weights_of_something_else_are_refused(wrong: dict, tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    card = replace(card_of(LINES, FACTS), architecture=wrong)
    save_weights(path, network_of(LINES).state_dict(), card)
    with pytest.raises(InputError, match="no pose network"):
        load_network(path)


def test_other_weights_than_expected_are_refused(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, network_of(LINES).state_dict(), card_of(LINES, FACTS))
    with pytest.raises(InputError, match="other weights"):
        load_network(path, "0" * 64)


def test_differing_architectures_are_named_by_their_flags(tmp_path) -> None:
    refuse_other_network(asdict(LINES), LINES, tmp_path)
    with pytest.raises(ConfigError, match=r"--model\.width 32, --model\.decoder-depth 2.*--model\.width 64"):
        refuse_other_network(asdict(LINES), replace(LINES, width=64, decoder_depth=3), tmp_path)
