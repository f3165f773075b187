"""Networks as published weights: made from a training state, described by a card, loaded again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from vitreous.errors import ConfigError, InputError
from vitreous.io.weights import WeightsCard, load_weights
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.corpus_scenes import trial_scenes, trial_structures
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.trial import Trial, run_trial
from vitreous.simulate.corpus import Corpus
from vitreous.typing import PathLike

NAME = "vitreous-fastar"
TRIALS = {"SNR 1": Trial(views=16, snr=1.0), "SNR 0.1": Trial(views=32, snr=0.1)}
"""Conditions whose scores are kept with every leg of training."""


def network_of(config: ModelConfig, parameters: Mapping[str, Tensor]) -> PoseNetwork:
    """Return the network of a training state, whose names begin with ``network.``."""
    network = PoseNetwork(config)
    inside = "network."
    found = {name.removeprefix(inside): value for name, value in parameters.items() if name.startswith(inside)}
    network.load_state_dict(found or dict(parameters))
    return network.eval()


def load_network(path: PathLike, expected_sha256: str | None = None) -> tuple[PoseNetwork, WeightsCard]:
    """Load published weights.

    Raises
    ------
    InputError
        Where the file is damaged, of another version, or not a pose network.
    """
    weights = load_weights(path, expected_sha256=expected_sha256)
    try:
        return network_of(ModelConfig(**weights.card.architecture), weights.tensors), weights.card
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"these weights, {weights.card.name} of {weights.card.date}, belong to no pose network that is known here",
            remedy="Install the vitreous that they were made for, or a newer one",
            path=path,
        ) from error


def refuse_other_network(described: Mapping[str, Any], config: ModelConfig, path: PathLike) -> None:
    """Raise ConfigError that names the options in which a network differs from a described one.

    Fields that the description lacks have their defaults.
    """
    there, here = asdict(ModelConfig()) | dict(described), asdict(config)
    differing = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    if not differing:
        return
    flags = [f"--model.{name.replace('_', '-')} " for name in differing]
    raise ConfigError(
        "this state is that of another network",
        expected=", ".join(f"{flag}{there.get(name)}" for flag, name in zip(flags, differing)),
        found=", ".join(f"{flag}{here.get(name)}" for flag, name in zip(flags, differing)),
        remedy="Give the options of the network that is to go on, or choose another -o for a new one",
        path=path,
    )


def scores_of(network: PoseNetwork, corpus: Corpus | None, split: str = "validation") -> dict[str, float]:
    """Score a network on the asymmetric structures of a split, ``"SNR 0.1 fnorm_median"`` …; empty without any."""
    if corpus is None or not trial_structures(corpus, split):  # type: ignore[arg-type]
        return {}
    _, scenes = trial_scenes(corpus, split)  # type: ignore[arg-type]
    scores = {name: asdict(run_trial(network, scenes, trial)) for name, trial in TRIALS.items()}
    return {f"{name} {key}": round(value, 4) for name, found in scores.items() for key, value in found.items()}


def card_of(config: ModelConfig, facts: Mapping[str, Any]) -> WeightsCard:
    """Describe trained weights."""
    return WeightsCard(
        name=NAME,
        architecture=asdict(config),
        licence="BSD-3-Clause",
        training_data=str(facts["training_data"]),
        steps=int(facts["steps"]),
        images=int(facts["views"]),
        hardware=str(facts.get("hardware", "")),
        figures=dict(facts["figures"]),
        date=str(facts["date"]),
    )
