"""One file format per module; open_particles joins them on particle ids."""

from vitreous.io.particles import ReadOptions, open_particles, open_particles_with
from vitreous.io.write_cs import write_cs
from vitreous.io.write_star import write_relion_star

__all__ = ["ReadOptions", "open_particles", "open_particles_with", "write_cs", "write_relion_star"]
