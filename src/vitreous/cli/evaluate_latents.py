"""``vitreous evaluate latents``: latents against true conformations, known particles or another run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.context import RunContext
from vitreous.cli.decoded_maps import SimulatedTruth, fsc_of_runs, fsc_with_truth, load_decoder
from vitreous.cli.latent_owner import refuse_other_owner
from vitreous.cli.options import Basic
from vitreous.cli.run_files import LATENTS, file_of
from vitreous.cli.tables import show
from vitreous.errors import ConfigError, InputError
from vitreous.evaluate.latent_agreement import latent_agreement
from vitreous.evaluate.latent_shift import latent_shift, shift_within
from vitreous.evaluate.latents import (
    ConformationError,
    cross_validated,
    regress_angles,
    regress_numbers,
    variance_explained,
)
from vitreous.evaluate.poses import match_on_ids
from vitreous.runs.reader import read_latents


@dataclass(frozen=True)
class EvaluateLatents:
    """Judge latents: by true conformations, by the particles that a run knows, or by another run.

    With --truth, the true coordinate is regressed from nearest neighbours, and circular correlation and error are
    reported: in five-fold cross-validation, or from the neighbours among --known alone. With --known, also how far the
    distribution of the latents is from that of the known ones. With --against, what two runs have in common.
    """

    latents: Positional[Path]
    """Folder of a run of vitreous flex or embed, or a latents.npz."""

    truth: Path | None = None
    """True conformations, latents_truth.csv of vitreous simulate."""

    known: Path | None = None
    """Run of vitreous flex that placed the particles, which it has not seen: its own are the neighbours."""

    known_truth: Path | None = None
    """True conformations of --known; those of --truth when not given."""

    against: Path | None = None
    """Another run of flex or embed with the same particles: another seed, or trained on another half of the data."""

    maps: int = 0
    """Decode so many maps and report the areas under their FSC: with the true ones, or with those of --against; the
    latents must be those of a folder."""

    linear: bool = False
    """The true coordinates are numbers, not one angle: report the share of their variance that is explained."""

    neighbours: int = 20
    """Nearest neighbours that are asked."""

    period_deg: float = 360.0
    """Period of the true coordinate; differences are counted in degrees of the coordinate."""

    json: Path | None = None
    """File to write the figures to."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.period_deg > 0:
            raise ConfigError("--period-deg must be positive", found=self.period_deg, remedy="Change --period-deg")
        if self.neighbours < 1:
            raise ConfigError("--neighbours must be at least 1", found=self.neighbours, remedy="Change --neighbours")
        if self.maps < 0:
            raise ConfigError("--maps must not be negative", found=self.maps, remedy="Change --maps")
        if self.known_truth is not None and (self.known is None or self.truth is None):
            raise ConfigError("--known-truth belongs to --known and --truth", remedy="Give all three")
        if self.truth is None and self.known is None and self.against is None:
            raise ConfigError("there is nothing to compare with", remedy="Give --truth, --known or --against")
        if self.maps and self.truth is None and self.against is None:
            raise ConfigError("--maps needs maps to compare with", remedy="Give --truth or --against")

    def run(self, context: RunContext) -> None:
        """Match the particles by id, compare, show."""
        del context
        ids, z = _read(self.latents)
        if self.known is not None:
            refuse_other_owner(self.latents, self.known, "--known")
        figures: dict[str, Any] = {}
        if self.truth is not None:
            figures |= self._by_truth(ids, z, SimulatedTruth.read(self.truth))
        if self.known is not None:
            figures |= _shift(_read(self.known)[1], z)
        if self.against is not None:
            figures |= self._by_other(ids, z, self.against)
        show(figures, self.json)

    def _by_truth(self, ids: NDArray[Any], z: Tensor, truth: SimulatedTruth) -> dict[str, Any]:
        """Compare with the true conformations, the parts of a simulation apart where there are several."""
        rows = truth.rows_of(ids)
        wanted = self._wanted(truth.coordinates[rows]).nan_to_num()
        if self.known is None and bool((wanted == wanted[:1]).all()):
            raise InputError(
                "all particles have one conformation: latents cannot be judged by it",
                remedy="Simulate a motion (`vitreous simulate --recipes` lists some), or leave --truth out",
                path=truth.path,
            )
        model = load_decoder(self.latents) if self.maps else None
        found = self._regressed(z, rows, truth)
        figures: dict[str, Any] = {}
        for prefix, chosen in _parts(truth.parts[rows]):
            part = self._error(truth.coordinates[rows][chosen], found[chosen])
            if model is not None:
                part |= fsc_with_truth(model, z[chosen], truth, rows[chosen], self.maps)
            figures |= {f"{prefix}{name}": value for name, value in part.items()}
        return figures

    def _regressed(self, z: Tensor, rows: NDArray[np.int64], truth: SimulatedTruth) -> Tensor:
        """Return coordinates from those of neighbours: angles in radians in the first column, or numbers."""
        if self.known is None:
            generator, coordinates = torch.Generator().manual_seed(0), truth.coordinates[rows]
            return cross_validated(z, self._wanted(coordinates), generator, self._from_neighbours)
        known_ids, known = _read(self.known)
        known_truth = truth if self.known_truth is None else SimulatedTruth.read(self.known_truth)
        known_rows = known_truth.rows_of(known_ids)
        if self.known_truth is None and len(np.intersect1d(known_rows, rows)):
            raise ConfigError(
                "particles of --known have the same rows of --truth as those that are judged",
                remedy="Give --known-truth where they are other particles of the same names, or leave out those that "
                "the run knows",
            )
        known_coordinates = known_truth.coordinates[known_rows]
        return self._from_neighbours(known, self._wanted(known_coordinates), z)

    def _wanted(self, coordinates: Tensor) -> Tensor:
        return coordinates if self.linear else coordinates[:, :1] * (2 * torch.pi / self.period_deg)

    def _from_neighbours(self, known: Tensor, values: Tensor, z: Tensor) -> Tensor:
        if self.linear:
            return regress_numbers(known, values, z, self.neighbours)
        return regress_angles(known, values[:, 0], z, self.neighbours)[:, None]

    def _error(self, coordinates: Tensor, found: Tensor) -> dict[str, Any]:
        wanted = self._wanted(coordinates)
        if self.linear:
            return {"particles": len(wanted), "variance_explained": variance_explained(wanted, found)}
        summary = ConformationError(wanted[:, 0], found[:, 0]).summary()
        for name in ("mean_error_deg", "median_error_deg"):
            summary[name] *= self.period_deg / 360
        return summary

    def _by_other(self, ids: NDArray[Any], z: Tensor, other: Path) -> dict[str, Any]:
        other_ids, other_z = _read(other)
        here, there = match_on_ids(ids, other_ids, partial=True)
        first, second = z[here], other_z[there]
        agreement = latent_agreement(first, second, torch.Generator().manual_seed(0), self.neighbours)
        figures = {"common_particles": len(first), **agreement.summary()}
        if self.maps:
            models = [load_decoder(self.latents), load_decoder(other)]
            fsc = fsc_of_runs(models, (first, second), self.maps)
            figures |= {f"between_runs_{name}": value for name, value in fsc.items()}
        return figures


def _shift(known: Tensor, z: Tensor) -> dict[str, float]:
    """Return the distances between the distributions, and those between parts of the known one of the same size."""
    generator = torch.Generator().manual_seed(0)
    found = latent_shift(known, z, generator).summary()
    usual = shift_within(known, len(z), generator).summary()
    return found | {f"{name}_within_known": v for name, v in usual.items() if "bandwidth" not in name}


def _parts(names: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield a prefix and the rows of every part; none where there is but one."""
    found = np.unique(names)
    for name in found:
        yield f"{name}." if len(found) > 1 else "", np.flatnonzero(names == name)


def _read(run: Path) -> tuple[NDArray[Any], Tensor]:
    ids, z = read_latents(file_of(run, LATENTS))
    return ids, torch.from_numpy(z)
