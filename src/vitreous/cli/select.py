"""``vitreous select``: some of the particles, as a STAR file."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli.context import RunContext
from vitreous.cli.expressions import rows_where
from vitreous.cli.options import Basic
from vitreous.cli.run_files import LATENTS, PARTICLES, file_of
from vitreous.data import Particles
from vitreous.errors import ConfigError, InputError
from vitreous.io import open_particles, write_relion_star
from vitreous.io.stacks import usable_images
from vitreous.runs.reader import read_latents


@dataclass(frozen=True)
class Select:
    """Write the particles that satisfy a condition on classes, scores, latents or any other column."""

    particles: Positional[Path]
    """A .star file or the folder of a run, whose latents then count as columns z1, z2 and so on."""

    output: Annotated[Path, arg(aliases=("-o",), metavar="STAR")]
    """The .star file to write."""

    where: str | None = None
    """Condition such as 'rlnClassNumber == 1 and z1 > 0.5': comparisons joined by and, or, not."""

    usable: bool = False
    """Read all images, and leave out those that are constant or hold NaN."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def __post_init__(self) -> None:
        """Refuse a call that would select everything."""
        if self.where is None and not self.usable:
            raise ConfigError("there is no condition", remedy="Give --where CONDITION or --usable")

    def run(self, context: RunContext) -> None:
        """Read the table, evaluate the condition, write the rows with all their columns."""
        _refuse_output(self.output, overwrite=self.common.overwrite)
        file = file_of(self.particles, PARTICLES)
        particles = open_particles(file, contrast="bright")  # pixels are not looked at
        columns = _columns(particles, self.particles / LATENTS)
        chosen = np.ones(len(particles), bool) if self.where is None else rows_where(self.where, columns)
        if not chosen.any():
            raise ConfigError(
                f"--where {self.where!r} selects none of {len(particles)} particles", remedy="Change the condition"
            )
        if self.usable:
            chosen &= usable_images(particles.source)
        rows = np.flatnonzero(chosen)
        if len(rows) == 0:
            raise InputError("no image can be used", remedy="Extract the particles again", path=file)
        write_relion_star(self.output, particles.select(torch.from_numpy(rows)))
        if not context.common.quiet:
            sys.stdout.write(f"{len(rows)} of {len(particles)} particles · {self.output}\n")


def _columns(particles: Particles, latents: Path) -> Mapping[str, NDArray[Any]]:
    if particles.table is None:
        raise InputError("there is no table to select from", remedy="Give a .star file or the folder of a run")
    columns = dict(particles.table.particles)
    if not latents.is_file():
        return columns
    ids, z = read_latents(latents)
    place = {str(name): row for row, name in enumerate(ids)}
    missing = [name for name in particles.ids if name not in place]
    if missing:
        raise InputError(
            f"{len(missing)} particles have no latents",
            found=missing[0],
            remedy="Select from the run that made both files",
            path=latents,
        )
    ordered = z[[place[str(name)] for name in particles.ids]]
    return columns | {f"z{i + 1}": ordered[:, i] for i in range(z.shape[1])}


def _refuse_output(path: Path, *, overwrite: bool) -> None:
    if path.suffix != ".star":
        raise ConfigError("-o must name a .star file", found=path, remedy="Give a name that ends in .star")
    if path.exists() and not overwrite:
        raise ConfigError("the output exists already", remedy="Choose another -o, or give --overwrite", path=path)
