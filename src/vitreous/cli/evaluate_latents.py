"""``vitreous evaluate latents``: latents against the true conformations of a simulation."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.context import RunContext
from vitreous.cli.options import Basic
from vitreous.cli.tables import show
from vitreous.errors import ConfigError, InputError
from vitreous.evaluate.latents import ConformationError, conformation_error, regress_angles
from vitreous.evaluate.poses import match_on_ids
from vitreous.io.access import reading
from vitreous.runs.reader import read_latents


@dataclass(frozen=True)
class EvaluateLatents:
    """Regress the true angle of a motion from latents, and report circular correlation and error.

    Nearest neighbours are asked; without --known, in five-fold cross-validation.
    """

    latents: Positional[Path]
    """Folder of a run of vitreous flex or embed, or a latents.npz."""

    truth: Path
    """True conformations, latents_truth.csv of vitreous simulate."""

    known: Path | None = None
    """Run whose latents and true angles are the neighbours, for particles that it has not seen."""

    known_truth: Path | None = None
    """True conformations of --known; those of --truth when not given."""

    period_deg: float = 360.0
    """Period of the true coordinate; differences are counted in degrees of the coordinate."""

    json: Path | None = None
    """File to write the figures to."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.period_deg > 0:
            raise ConfigError("--period-deg must be positive", found=self.period_deg, remedy="Change --period-deg")
        if self.known_truth is not None and self.known is None:
            raise ConfigError("--known-truth belongs to --known", remedy="Give both")

    def run(self, context: RunContext) -> None:
        """Match the particles by id, regress, show."""
        del context
        scale = 2 * torch.pi / self.period_deg
        z, angles = _matched(self.latents, self.truth)
        if self.known is None:
            found = conformation_error(z, angles * scale, torch.Generator().manual_seed(0))
        else:
            known, known_angles = _matched(self.known, self.known_truth or self.truth)
            found = ConformationError(angles * scale, regress_angles(known, known_angles * scale, z))
        summary = found.summary()
        for name in ("mean_error_deg", "median_error_deg"):
            summary[name] *= self.period_deg / 360
        show(summary, self.json)


def _matched(run: Path, truth: Path) -> tuple[Tensor, Tensor]:
    """Return latents and true coordinates of the particles of a run."""
    ids, z = read_latents(run / "latents.npz" if run.is_dir() else run)
    true_ids, coordinates = _read_truth(truth)
    kept, rows = match_on_ids(ids, true_ids, partial=True)
    if len(kept) < len(ids):
        raise InputError(
            f"{len(ids) - len(kept)} of {len(ids)} particles have no true conformation",
            remedy="Give the latents_truth.csv of the simulation that made them",
            path=truth,
        )
    return torch.from_numpy(z)[kept], coordinates[rows]


def _read_truth(path: Path) -> tuple[np.ndarray, Tensor]:
    try:
        with reading(path), path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        ids = np.array([row["id"] for row in rows])
        return ids, torch.tensor([float(row["coordinate_1"]) for row in rows])
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            "no true conformations",
            expected="columns id and coordinate_1",
            remedy="Give latents_truth.csv of vitreous simulate",
            path=path,
        ) from error
