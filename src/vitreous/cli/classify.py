"""``vitreous classify``: several maps from a mixture of particles."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.abinitio import estimate
from vitreous.cli.context import RunContext
from vitreous.cli.options import Common, Output
from vitreous.cli.running import (
    Estimate,
    RunJournal,
    announce,
    begin,
    finish,
    open_folder,
    read_with,
    resumable,
)
from vitreous.data import Particles
from vitreous.io import ReadOptions, open_particles_with
from vitreous.io.maps import read_map
from vitreous.methods.registry import get
from vitreous.methods.search.classify import ClassifyConfig, require_starts
from vitreous.methods.search.given import on_grid_of


@dataclass(frozen=True)
class Classify:
    """Find several maps, and the particles that belong to each, without a starting map or from some."""

    stack: Positional[Path]
    """Particles: .star, .cs or .mrcs; poses in it are not used."""

    output: Output
    """Folder for the maps, the classes and the report."""

    map: tuple[Path, ...] = ()
    """Maps to begin from, .mrc, of any grey scale: one for all classes, or one per class. They are cut off at 30 Å
    (--start-A)."""

    classification: OmitArgPrefixes[ClassifyConfig] = field(default_factory=ClassifyConfig)
    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the particles, classify, write."""
        if not begin(context, self.output, self.common, on_gpu=True):
            return
        particles = open_particles_with(self.stack, self.reading)
        starts = [on_grid_of(read_map(path), particles) for path in self.map]
        announce(context, particles, self._estimate(particles))
        inputs = (self.stack, *self.map, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder, resumable(context, folder):
            method = get("classify")(self.classification)
            result = method.run(particles, context.progress(), RunJournal.of(folder), starts=starts)
            finish(context, folder, result, particles)

    def __post_init__(self) -> None:
        """Refuse maps that are neither one for all classes nor one per class."""
        require_starts(len(self.map), self.classification.classes)

    def _estimate(self, particles: Particles) -> Estimate:
        """Every class costs what a search does, and half as much again for second looks."""
        one, classes = estimate(particles), self.classification.classes
        maps = classes * 3 * 4 * (2 * particles.box) ** 3
        return replace(one, memory_bytes=one.memory_bytes + maps, core_seconds=1.5 * one.core_seconds * classes)
