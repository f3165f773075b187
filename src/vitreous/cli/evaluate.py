"""``vitreous evaluate``: poses and maps against a truth or against each other."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.context import RunContext
from vitreous.cli.options import Basic
from vitreous.cli.run_files import PARTICLES, VOLUME, file_of, without_poses
from vitreous.cli.tables import show
from vitreous.data import Particles
from vitreous.evaluate.maps import compare_maps
from vitreous.evaluate.poses import LARGE_DEG, compare_poses, fitting_group, match_on_ids
from vitreous.io import open_particles
from vitreous.io.maps import read_map


@dataclass(frozen=True)
class EvaluatePoses:
    """Compare poses with the true ones, after the best global rotation, shift and hand."""

    estimate: Positional[Path]
    """Estimated poses: .star, .cs, or the folder of a run."""

    truth: Path
    """True poses of the same particles, .star or .cs."""

    symmetry: str = "C1"
    """Point group; every symmetry mate of a true pose counts as right."""

    shared_only: bool = False
    """Compare the particles that both files have, instead of refusing files that differ."""

    json: Path | None = None
    """File to write the figures to."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def run(self, context: RunContext) -> None:
        """Match the particles by id, compare, show."""
        estimate, truth = (_with_poses(path) for path in (self.estimate, self.truth))
        rows = match_on_ids(estimate.ids, truth.ids, partial=self.shared_only)
        if self.shared_only and len(rows[0]) < max(len(estimate), len(truth)):
            context.warn(f"{len(rows[0])} of {max(len(estimate), len(truth))} particles are in both files")
        poses = [p.poses.select(r) for p, r in zip((estimate, truth), rows) if p.poses is not None]
        found = compare_poses(poses[0], poses[1], truth.pixel_size_A, self.symmetry)
        if self.symmetry == "C1" and found.median_deg > LARGE_DEG:
            hint = fitting_group(poses[0], poses[1])
            if hint is not None:
                context.warn(f"with --symmetry {hint[0]} the median error is {hint[1]:.2g}°: is that the point group?")
        show(found.summary(), self.json)


@dataclass(frozen=True)
class EvaluateMap:
    """Compare a map with the true one by Fourier shell correlation, after aligning it."""

    map: Positional[Path]
    """Map to judge: .mrc, or the folder of a run."""

    truth: Path
    """True map, .mrc, of the same box and voxel size."""

    mask: Path | None = None
    """Soft mask in the frame of the truth, .mrc."""

    aligned: bool = False
    """The map lies on the truth already: do not align it."""

    json: Path | None = None
    """File to write the figures and the curve to."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def run(self, context: RunContext) -> None:
        """Align, compare, show."""
        del context
        mask = None if self.mask is None else read_map(self.mask)
        found = compare_maps(read_map(file_of(self.map, VOLUME)), read_map(self.truth), mask, align=not self.aligned)
        curve = {"frequency_per_A": found.frequency_per_A.tolist(), "fsc": found.fsc.tolist()}
        show(found.summary(), self.json, unprinted=curve)
        sys.stdout.write("\n" + _curve_as_text(curve["frequency_per_A"], curve["fsc"]))


def _curve_as_text(frequency_per_A: Sequence[float], fsc: Sequence[float], lines: int = 12) -> str:
    """About a dozen shells of a curve, evenly spaced, with the last."""
    step = max(1, round((len(fsc) - 1) / lines))
    shells = sorted({*range(step, len(fsc), step), len(fsc) - 1})
    rows = [f"{1 / frequency_per_A[k]:7.2f} Å   {fsc[k]:6.3f}" for k in shells]
    return "resolution      FSC\n" + "\n".join(rows) + "\n"


def _with_poses(path: Path) -> Particles:
    file = file_of(path, PARTICLES)
    particles = open_particles(file, contrast="bright")  # pixels are not looked at
    if particles.poses is None:
        raise without_poses(file, "Give a file with rlnAngleRot and so on")
    return particles
