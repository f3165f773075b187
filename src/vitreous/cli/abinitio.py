"""``vitreous abinitio``: a map and poses from particles of which nothing else is known, or from a start."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.amortised import Amortised, amortised_then_search, estimate_training
from vitreous.cli.context import RunContext
from vitreous.cli.networks import MethodRun, Network, network_then_search
from vitreous.cli.options import Common, Output
from vitreous.cli.running import (
    Estimate,
    RunJournal,
    announce,
    begin,
    finish,
    open_folder,
    read_mask,
    read_with,
    resumable,
)
from vitreous.compute.processes import current_share
from vitreous.data import Particles, Poses, Volume
from vitreous.errors import ConfigError
from vitreous.io import ReadOptions, open_particles_with
from vitreous.io.maps import read_map
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.fastar.config import FrameConfig
from vitreous.methods.registry import get
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.given import on_grid_of

_START_SECONDS, _SECONDS_PER_PIXEL = 60.0, 8e-6
"""Rough time on one core: of the stochastic start, whatever the stack is, and per pixel of the stack after it."""

_CACHE_BYTES = 4e9

_NETWORKS = ("fastar", "cryoai")


@dataclass(frozen=True)
class AbInitio:
    """Find a map and all poses, without a starting map or from one."""

    stack: Positional[Path]
    """Particles: .star, .cs or .mrcs; poses in it are not used, unless --poses names it too."""

    output: Output
    """Folder for the maps, the poses and the report."""

    method: Literal["auto", "search", "fastar", "cryoai"] = "auto"
    """How to find poses: search, from random starts; fastar, by the pose network, whose maps the search then goes on
    from (or ignores, where the network is not confident); cryoai, by an encoder that learns on the particles themselves
    together with a map, whose poses the search goes on from: several times slower than search on a processor. auto
    takes what suits the particles: search at present."""

    weights: Path | None = None
    """Weights of the pose network, .safetensors (fastar); those that come with vitreous by default."""

    network_only: bool = False
    """Stop at the network's poses (fastar, cryoai): no search, no refinement."""

    map: Path | None = None
    """Map to begin from, .mrc, of any grey scale, in place of random orientations; --poses FILE begins from poses.
    Such a start is cut off at 30 Å (--start-A), and left where the two halves do not agree on what it leads to."""

    mask: Path | None = None
    """Soft mask for the final FSC, .mrc; made from the map by default."""

    network: FrameConfig = field(default_factory=FrameConfig)
    cryoai: CryoAIConfig = field(default_factory=CryoAIConfig)
    search: OmitArgPrefixes[SearchConfig] = field(default_factory=SearchConfig)
    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the particles, search, write."""
        if not begin(context, self.output, self.common, on_gpu=True):
            return
        if self.method in _NETWORKS and current_share().size > 1:
            raise ConfigError(f"--method {self.method} runs in one process", remedy="Leave --processes out")
        particles = open_particles_with(self.stack, self.reading)
        mask = read_mask(self.mask, particles)
        start = self._start(particles)
        announce(context, particles, self._estimate(particles))
        inputs = (self.stack, self.map, self.mask, self.weights, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder, resumable(context, folder):
            run = MethodRun(particles, context.progress(), mask, RunJournal.of(folder))
            if self.method == "fastar":
                network = Network(self.weights, self.network, alone=self.network_only)
                result = network_then_search(run, network, self.search, context)
            elif self.method == "cryoai":
                amortised = Amortised(self.cryoai, self.common.device, self.network_only)
                result = amortised_then_search(run, amortised, self.search, context)
            else:
                result = get("search")(self.search).run(*run, starts=start)
            finish(context, folder, result, particles)

    def _estimate(self, particles: Particles) -> Estimate:
        search = estimate(particles)
        if self.method != "cryoai":
            return search
        training = estimate_training(self.cryoai, len(particles), particles.box, self.common.device)
        return Estimate(
            max(search.memory_bytes, training.memory_bytes + 8e8), search.core_seconds + training.core_seconds
        )

    def _start(self, particles: Particles) -> Volume | Poses | None:
        """What the search begins from, where it was given."""
        if self.map is not None:
            return on_grid_of(read_map(self.map), particles)
        return None if self.reading.poses is None else particles.poses

    def __post_init__(self) -> None:
        """Refuse options of another method, and two starts."""
        starts = [flag for flag, path in (("--map", self.map), ("--poses", self.reading.poses)) if path is not None]
        if len(starts) == 2:
            raise ConfigError("--map and --poses exclude each other", remedy="Give the start that you trust more")
        if starts and self.method in _NETWORKS:
            raise ConfigError(
                f"{starts[0]} is a start, and so is what the network finds",
                remedy=f"Leave --method {self.method} out, or the start",
            )
        for flag, given, owners in (
            ("--weights", self.weights is not None, ("fastar",)),
            ("--network.*", self.network != FrameConfig(), ("fastar",)),
            ("--network-only", self.network_only, _NETWORKS),
            ("--cryoai.*", self.cryoai != CryoAIConfig(), ("cryoai",)),
        ):
            if given and self.method not in owners:
                names = " or ".join(f"--method {name}" for name in owners)
                raise ConfigError(f"{flag} belongs to {names}", remedy=f"Add {names}, or leave {flag} out")
        begins_from_poses = self.method == "cryoai" and not self.network_only
        if self.search.start_A is not None and not (starts or begins_from_poses):
            raise ConfigError(
                "--start-A is where a start is cut off, and there is none",
                remedy="Leave --start-A out, or give --map or --poses",
            )
        if self.network_only and self.search.symmetry != "C1":
            raise ConfigError(
                "--network-only knows no --symmetry: the network's frame is not that of the point group's axes",
                remedy="Leave one of the two out",
            )


def estimate(particles: Particles) -> Estimate:
    """Estimate a search: the coefficients of all images up to a cache, and padded grids."""
    coefficients = 12 * len(particles) * 0.39 * particles.box**2  # a half disc, complex64 and float32
    grids = 8 * 12 * (2 * particles.box) ** 3 / 2
    pixels = len(particles) * particles.box**2
    cache = min(coefficients, _CACHE_BYTES / current_share().on_machine)
    return Estimate(cache + grids + 8e8, _START_SECONDS + _SECONDS_PER_PIXEL * pixels)
