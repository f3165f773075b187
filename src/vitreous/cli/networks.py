"""A network's proposal handed over to the search, which judges and refines it."""

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vitreous.cli.context import RunContext
from vitreous.compute.progress import Progress
from vitreous.data import Journal, Particles, Result, Volume
from vitreous.errors import ConfigError
from vitreous.methods.fastar.config import FastARConfig, FrameConfig
from vitreous.methods.registry import get
from vitreous.methods.search.config import SearchConfig

if TYPE_CHECKING:
    from vitreous.methods.fastar.method import Proposal

SHIPPED = "weights/fastar.safetensors"
SHIPPED_SHA256 = "7d452ecd6a95bea4f0fa71411ae949ddad6c44bb0d8c1034afb6ff2ff19c9d0f"
"""Of the tensors of the weights that come with the package; its test fails where they were changed."""


class MethodRun(NamedTuple):
    """What every method's ``run`` takes."""

    particles: Particles
    progress: Progress
    mask: Volume | None
    journal: Journal


@dataclass(frozen=True)
class Network:
    """The pose network as asked for on the command line."""

    weights: Path | None
    frames: FrameConfig
    alone: bool


def network_then_search(run: MethodRun, network: Network, search: SearchConfig, context: RunContext) -> Result:
    """Predict poses; then search on from their maps, or from random starts where the network is not confident."""
    from vitreous.methods.fastar.published import load_network
    from vitreous.methods.search.starts import GivenStarts

    loaded, card = (
        load_network(shipped_weights(), SHIPPED_SHA256) if network.weights is None else load_network(network.weights)
    )
    context.say(f"Pose network {card.name}, {card.images:,} training views, {card.date}")
    run.journal.log({"stage": "network weights", "name": card.name, "date": card.date, "sha256": card.sha256})
    config = FastARConfig(search.diameter_A, search.seed, network.frames)
    method = get("fastar")(loaded, config)
    if network.alone:
        alone: Result = method.run(*run)
        return alone
    proposed: Proposal = method.propose(run.particles, run.progress, run.journal)
    notes: tuple[str, ...]
    found = replace(search, diameter_A=float(proposed.metrics["diameter_A"]))
    figures = {name: value for name, value in proposed.metrics.items() if name.startswith("network_")}
    if proposed.verdict == "failed":
        context.say("the pose network is not confident: searching from random starts")
        result: Result = get("search")(found).run(*run)
        notes = (*proposed.reasons, "The pose network was not confident, so the map comes from a search.")
    else:
        halved = run._replace(particles=replace(run.particles, half_sets=proposed.half_sets))
        starts = GivenStarts(proposed.maps, proposed.agreement_shell)
        result = get("search")(found).run(*halved, starts=starts)
        notes = ()
    warnings = tuple(dict.fromkeys((*result.warnings, *proposed.warnings, *notes)))
    return replace(result, warnings=warnings, metrics={**result.metrics, **figures})


def shipped_weights() -> Path:
    """Return the weights that come with the package.

    Raises
    ------
    ConfigError
        Where this installation has none.
    """
    path = Path(str(files("vitreous") / SHIPPED))
    if not path.is_file():
        raise ConfigError(
            "this installation has no weights of the pose network",
            remedy="Give --weights, or use --method search",
            path=path,
        )
    return path
