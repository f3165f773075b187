"""``vitreous reconstruct``: a map and two half-maps from particles whose poses are known."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.context import RunContext
from vitreous.cli.options import Common, Output
from vitreous.cli.running import (
    Estimate,
    announce,
    begin,
    finish,
    open_folder,
    read_mask,
    read_with,
)
from vitreous.data import Particles
from vitreous.io import ReadOptions, open_particles_with
from vitreous.reconstruct.known_poses import ReconstructConfig, reconstruct_halves

_SECONDS_PER_PIXEL = 1.2e-7
"""Rough time on one core to read, transform and insert a pixel."""


@dataclass(frozen=True)
class Reconstruct:
    """Reconstruct a map and two half-maps from particles whose poses are known."""

    stack: Positional[Path]
    """Particles: .star, .cs or .mrcs."""

    output: Output
    """Folder for the maps, the FSC and the report."""

    mask: Path | None = None
    """Soft mask for the FSC, .mrc; made from the map by default."""

    reconstruction: OmitArgPrefixes[ReconstructConfig] = field(default_factory=ReconstructConfig)
    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the particles, reconstruct, write."""
        if not begin(context, self.output, self.common, on_gpu=True):
            return
        particles = open_particles_with(self.stack, self.reading)
        mask = read_mask(self.mask, particles)
        announce(context, particles, estimate(particles))
        inputs = (self.stack, self.mask, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder:
            result = reconstruct_halves(particles, self.reconstruction, context.progress(), mask)
            finish(context, folder, result, particles)


def estimate(particles: Particles) -> Estimate:
    """Estimate a reconstruction: two to four padded grids and their transforms, and one pass over the images."""
    grid = 12 * (2 * particles.box) ** 3 / 2
    return Estimate(6 * grid + 5e8, _SECONDS_PER_PIXEL * len(particles) * particles.box**2)
