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
    finish,
    open_folder,
    prepare,
    read_with,
    require_plain_cpu,
)
from vitreous.data import Particles
from vitreous.io import ReadOptions, open_particles_with
from vitreous.methods.registry import get
from vitreous.methods.search.classify import ClassifyConfig


@dataclass(frozen=True)
class Classify:
    """Find several maps, and the particles that belong to each, without a starting map."""

    stack: Positional[Path]
    """Particles: .star, .cs or .mrcs; poses in it are not used."""

    output: Output
    """Folder for the maps, the classes and the report."""

    classification: OmitArgPrefixes[ClassifyConfig] = field(default_factory=ClassifyConfig)
    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the particles, classify, write."""
        require_plain_cpu(self.common, "vitreous classify")
        if not prepare(self.output, self.common):
            context.say(f"{self.output} holds the finished run")
            return
        particles = open_particles_with(self.stack, self.reading)
        announce(context, particles, self._estimate(particles))
        with open_folder(context, self.output, particles, (self.stack, *read_with(self.reading))) as folder:
            method = get("classify")(self.classification)
            result = method.run(particles, context.progress(), RunJournal.of(folder))
            finish(context, folder, result, particles)

    def _estimate(self, particles: Particles) -> Estimate:
        """Every class costs what a search does."""
        one, classes = estimate(particles), self.classification.classes
        maps = classes * 3 * 4 * (2 * particles.box) ** 3
        return replace(one, memory_bytes=one.memory_bytes + maps, core_seconds=one.core_seconds * classes)
