"""``vitreous refine``: better poses and a better map, from a map or from poses."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.abinitio import estimate
from vitreous.cli.context import RunContext
from vitreous.cli.options import Common, Output
from vitreous.cli.running import (
    RunJournal,
    announce,
    begin,
    finish,
    open_folder,
    read_mask,
    read_with,
    resumable,
)
from vitreous.io import ReadOptions, open_particles_with
from vitreous.io.maps import read_map
from vitreous.methods.registry import get
from vitreous.methods.search.given import on_grid_of
from vitreous.methods.search.refine import RefineConfig


@dataclass(frozen=True)
class Refine:
    """Refine poses and map in two half-sets: locally from the particles' poses, or globally from a map."""

    stack: Positional[Path]
    """Particles: .star, .cs or .mrcs."""

    output: Output
    """Folder for the maps, the poses and the report."""

    map: Path | None = None
    """Map to search all orientations against, .mrc, of any grey scale; without it, the poses in the particles' file are
    refined."""

    mask: Path | None = None
    """Soft mask for the final FSC, .mrc; made from the map by default."""

    refinement: OmitArgPrefixes[RefineConfig] = field(default_factory=RefineConfig)
    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the particles, refine, write."""
        if not begin(context, self.output, self.common, on_gpu=True):
            return
        particles = open_particles_with(self.stack, self.reading)
        mask = read_mask(self.mask, particles)
        start = None if self.map is None else on_grid_of(read_map(self.map), particles)
        announce(context, particles, estimate(particles))
        inputs = (self.stack, self.map, self.mask, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder, resumable(context, folder):
            method = get("refine")(self.refinement)
            result = method.run(particles, context.progress(), mask, RunJournal.of(folder), start=start)
            finish(context, folder, result, particles)
