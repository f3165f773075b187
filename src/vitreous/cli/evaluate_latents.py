"""``vitreous evaluate latents``: latents against true conformations, known particles or another run."""

import math
from collections.abc import Iterator, Sequence
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
    is_one_angle,
    regress_angles,
    regress_numbers,
    variance_explained,
)
from vitreous.evaluate.poses import match_on_ids
from vitreous.runs.reader import read_latents

_FEW = 100
"""Particles below which distances between distributions say little."""

_UNDEFINED = {
    "circular_correlation": "the true angles, or those found from the neighbours, are all the same or opposite",
    "variance_explained": "the true coordinates are all the same",
    "first_from_second": "all latents of the first run are the same",
    "second_from_first": "all latents of the second run are the same",
}


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
    """Decode so many maps and report the areas under their FSC: with the true ones, one image of each state at the
    most, or with those of --against; the latents must be those of a folder."""

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
        ids, z = _read(self.latents)
        if self.known is not None:
            refuse_other_owner(self.latents, self.known, "--known")
        figures: dict[str, Any] = {}
        if self.truth is not None:
            figures |= self._by_truth(ids, z, SimulatedTruth.read(self.truth), context)
        if self.known is not None:
            figures |= self._shift(self.known, z, context)
        if self.against is not None:
            figures |= self._by_other(ids, z, self.against)
        show(_defined(figures, context), self.json)

    def _by_truth(self, ids: NDArray[Any], z: Tensor, truth: SimulatedTruth, context: RunContext) -> dict[str, Any]:
        """Compare with the true conformations, the parts of a simulation apart where there are several."""
        rows = truth.rows_of(ids)
        columns = truth.columns_with_values(rows) if self.linear else [0]
        wanted = self._wanted(truth.complete(rows, columns or [0]))
        self._warn_of_no_angle(truth, rows, context)
        if self.known is None and self._is_one_conformation(wanted):
            raise InputError(
                "all particles have one conformation: latents cannot be judged by it",
                remedy="Simulate a motion (`vitreous simulate --recipes` lists some), or leave --truth out",
                path=truth.path,
            )
        model = load_decoder(self.latents, self.known) if self.maps else None
        found = self._regressed(z, rows, truth, columns)
        figures: dict[str, Any] = {}
        for prefix, chosen in _parts(truth.parts[rows]):
            part = self._error(wanted[chosen], found[chosen])
            if model is not None:
                part |= fsc_with_truth(model, z[chosen], truth, rows[chosen], self.maps)
            figures |= {f"{prefix}{name}": value for name, value in part.items()}
        return figures

    def _warn_of_no_angle(self, truth: SimulatedTruth, rows: NDArray[np.int64], context: RunContext) -> None:
        """Say what is compared where the truth does not look like one angle."""
        if self.linear:
            return
        how = f"is compared, as an angle of period {self.period_deg:g}°; with --linear"
        several = len(truth.columns_with_values(rows))
        if several > 1:
            context.warn(f"{truth.path}: of {several} coordinates only coordinate_1 {how} all are, as numbers")
        elif _are_classes(truth.coordinates[rows, 0], self.period_deg):
            context.warn(f"{truth.path}: coordinate_1 looks like the number of a class. It {how}, as a number")

    def _is_one_conformation(self, wanted: Tensor) -> bool:
        return bool((wanted == wanted[:1]).all()) if self.linear else is_one_angle(wanted[:, 0])

    def _regressed(self, z: Tensor, rows: NDArray[np.int64], truth: SimulatedTruth, columns: Sequence[int]) -> Tensor:
        """Return coordinates from those of neighbours: angles in radians in the first column, or numbers."""
        if self.known is None:
            generator, wanted = torch.Generator().manual_seed(0), self._wanted(truth.complete(rows, columns))
            return cross_validated(z, wanted, generator, self._from_neighbours)
        known_ids, known = _read(self.known)
        if known.shape[1] != z.shape[1]:
            raise InputError(
                "the latents of --known have another dimension",
                expected=z.shape[1],
                found=known.shape[1],
                remedy="Give the run of vitreous flex that placed the particles",
                path=self.known,
            )
        known_truth = truth if self.known_truth is None else SimulatedTruth.read(self.known_truth)
        known_rows = known_truth.rows_of(known_ids)
        if self.known_truth is None and len(np.intersect1d(known_rows, rows)):
            raise ConfigError(
                "particles of --known have the same rows of --truth as those that are judged",
                remedy="Give --known-truth where they are other particles of the same names, or leave out those that "
                "the run knows",
            )
        return self._from_neighbours(known, self._wanted(known_truth.complete(known_rows, columns)), z)

    def _wanted(self, coordinates: Tensor) -> Tensor:
        return coordinates if self.linear else coordinates[:, :1] * (2 * torch.pi / self.period_deg)

    def _from_neighbours(self, known: Tensor, values: Tensor, z: Tensor) -> Tensor:
        if self.neighbours >= len(known):
            raise ConfigError(
                "--neighbours must be smaller than the number of particles among which they are sought",
                expected=f"less than {len(known)}",
                found=self.neighbours,
                remedy="Give a smaller --neighbours, or more particles",
            )
        if self.linear:
            return regress_numbers(known, values, z, self.neighbours)
        return regress_angles(known, values[:, 0], z, self.neighbours)[:, None]

    def _error(self, wanted: Tensor, found: Tensor) -> dict[str, Any]:
        if self.linear:
            return {"particles": len(wanted), "variance_explained": variance_explained(wanted, found)}
        summary = ConformationError(wanted[:, 0], found[:, 0]).summary()
        for name in ("mean_error_deg", "median_error_deg"):
            summary[name] *= self.period_deg / 360
        return summary

    def _shift(self, run: Path, z: Tensor, context: RunContext) -> dict[str, float]:
        """Return the distances between the distributions, and those between parts of the known one of the same size.

        Where they cannot be had, but other figures can, a warning says so.
        """
        known, generator = _read(run)[1], torch.Generator().manual_seed(0)
        try:
            found = latent_shift(known, z, generator).summary()
            usual = shift_within(known, len(z), generator).summary()
        except InputError as error:
            if self.truth is None:
                raise
            context.warn(f"no distances between the distributions are given: {error}")
            return {}
        if min(len(z), len(known) // 2) < _FEW:
            context.warn(
                f"{len(z)} new and {len(known)} known particles are few for distances between distributions: an "
                "estimate may be slightly negative, which means that no difference was found. Compare with the "
                "figures that end in _within_known"
            )
        return found | {f"{name}_within_known": v for name, v in usual.items() if "bandwidth" not in name}

    def _by_other(self, ids: NDArray[Any], z: Tensor, other: Path) -> dict[str, Any]:
        models = [load_decoder(run, self.known) for run in (self.latents, other)] if self.maps else []
        other_ids, other_z = _read(other)
        here, there = _common(ids, other_ids, other)
        first, second = z[here], other_z[there]
        try:
            agreement = latent_agreement(first, second, torch.Generator().manual_seed(0), self.neighbours)
        except InputError as error:
            raise InputError(
                f"the two runs share too few particles to be compared: {len(first)}",
                expected=f"10, more than --neighbours {self.neighbours} and one, and more than twice the dimensions of "
                "both together",
                remedy="Embed the same particles with both runs (`vitreous embed`), or give a smaller --neighbours",
                path=other,
            ) from error
        figures = {"common_particles": len(first), **agreement.summary()}
        if models:
            fsc = fsc_of_runs(models, (first, second), self.maps)
            figures |= {f"between_runs_{name}": value for name, value in fsc.items()}
        return figures


def _common(ids: NDArray[Any], other_ids: NDArray[Any], other: Path) -> tuple[Tensor, Tensor]:
    """Return the rows of the particles that two runs share."""
    for names in (ids, other_ids):
        match_on_ids(names, names)  # refuses names that occur twice
    try:
        return match_on_ids(ids, other_ids, partial=True)
    except InputError as error:
        raise InputError(
            "the two runs share no particles",
            expected=f"some like {ids[0]}",
            found=f"{len(other_ids)} others, like {other_ids[0]}",
            remedy="Give --against a run of the same stack, or embed the same particles with both runs (`vitreous "
            "embed`)",
            path=other,
        ) from error


def _defined(figures: dict[str, Any], context: RunContext) -> dict[str, Any]:
    """Leave out what is no finite number, with a warning that tells why."""
    left_out = [name for name, value in figures.items() if isinstance(value, float) and not math.isfinite(value)]
    for name in left_out:
        why = _UNDEFINED.get(name.rpartition(".")[2], "it comes out as no finite number")
        context.warn(f"{name} is not defined for these particles and left out: {why}")
    return {name: value for name, value in figures.items() if name not in left_out}


def _are_classes(values: Tensor, period_deg: float) -> bool:
    """Whether values are 0, 1, 2 … or 1, 2, 3 …, at most ten, and go round no more than a tenth of a circle."""
    found = values.unique().tolist()
    counted = [list(range(first, first + len(found))) for first in (0, 1)]
    return 1 < len(found) <= min(10, period_deg / 10) and found in counted


def _parts(names: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield a prefix and the rows of every part; none where there is but one."""
    found = np.unique(names)
    for name in found:
        yield f"{name}." if len(found) > 1 else "", np.flatnonzero(names == name)


def _read(run: Path) -> tuple[NDArray[Any], Tensor]:
    ids, z = read_latents(file_of(run, LATENTS))
    strange = ids[~np.isfinite(z).all(1)]
    if len(strange):
        raise InputError(
            f"the latents of {len(strange)} of {len(z)} particles are no finite numbers",
            found=f"{strange[0]} first",
            remedy="Leave these particles out, or look for bad images among them",
            path=run,
        )
    return ids, torch.from_numpy(z)
