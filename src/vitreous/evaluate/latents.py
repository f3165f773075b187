"""What latents know of a true conformation: regression of an angle or of a number, and its error."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from vitreous.errors import InputError
from vitreous.typing import Float

_FOLDS = 5
_SAME_RAD = 1e-5
"""Spread of angles that rounding alone can make; those of no more are all the same."""

_SAME_SHARE = 1e-6
"""The same of numbers, as a share of the greatest."""


@dataclass(frozen=True)
class ConformationError:
    """True and regressed angles of some particles.

    Attributes
    ----------
    truth_rad, found_rad
        ``[n]``.
    """

    truth_rad: Float[Tensor, " n"]
    found_rad: Float[Tensor, " n"]

    def summary(self) -> dict[str, Any]:
        """Return circular correlation, NaN where it is not defined, and errors in degrees, which always are."""
        error = torch.rad2deg(wrapped(self.found_rad - self.truth_rad).abs())
        return {
            "particles": len(error),
            "circular_correlation": circular_correlation(self.truth_rad, self.found_rad),
            "mean_error_deg": float(error.mean()),
            "median_error_deg": float(error.median()),
        }


def wrapped(angles_rad: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Angles brought into [−π, π)."""
    return torch.remainder(angles_rad + math.pi, 2 * math.pi) - math.pi


def is_one_angle(angles_rad: Float[Tensor, " n"]) -> bool:
    """Whether angles are all the same but for whole turns and rounding."""
    return bool((wrapped(angles_rad - angles_rad[:1]).abs() <= _SAME_RAD).all())


def circular_correlation(first_rad: Float[Tensor, " n"], second_rad: Float[Tensor, " n"]) -> float:
    """Correlation of two sets of angles, from −1 to 1 (Jammalamadaka & Sengupta 2001, eq. 8.2.2, from all pairs).

    Differences within each set are compared, not differences to a mean direction, which angles all round the circle
    do not have: ``Σ sin(a_i − a_j) sin(b_i − b_j)`` over the root of the product of the same with a and with b
    (Fisher & Lee 1983). NaN where either set does not vary: its angles are all equal, or equal and opposite ones.
    """
    a, b = (torch.polar(torch.ones_like(x, dtype=torch.float64), x.double()) for x in (first_rad, second_rad))
    spreads = _pairs(a, a), _pairs(b, b)
    if min(spreads) <= (2 * _SAME_RAD * len(a)) ** 2:  # of a standard deviation s, small: (2 s n)²
        return math.nan
    return _pairs(a, b) / math.sqrt(spreads[0] * spreads[1])


def _pairs(a: Tensor, b: Tensor) -> float:
    """``Σ_ij sin(a_i − a_j) sin(b_i − b_j)``, times 2, from sums over i alone."""
    return float((a * b.conj()).sum().abs().square() - (a * b).sum().abs().square())


def regress_angles(
    known: Float[Tensor, "m dims"],
    known_rad: Float[Tensor, " m"],
    latents: Float[Tensor, "n dims"],
    neighbours: int = 20,
) -> Float[Tensor, " n"]:
    """Angle of each latent: that of the mean cosine and sine of its nearest known latents."""
    near = known_rad[_nearest(known, latents, neighbours)]
    return torch.atan2(near.sin().mean(1), near.cos().mean(1))


def regress_numbers(
    known: Float[Tensor, "m dims"],
    values: Float[Tensor, "m k"],
    latents: Float[Tensor, "n dims"],
    neighbours: int = 20,
) -> Float[Tensor, "n k"]:
    """Values of each latent: the mean of those of its nearest known latents."""
    return values[_nearest(known, latents, neighbours)].mean(1)


def _nearest(known: Tensor, latents: Tensor, neighbours: int) -> Tensor:
    ranks = list(range(1, min(neighbours, len(known)) + 1))
    return torch.from_numpy(cKDTree(known.numpy()).query(latents.numpy(), ranks)[1])


def variance_explained(truth: Float[Tensor, "n k"], found: Float[Tensor, "n k"]) -> float:
    """Share of the variance of true values that found ones explain: 1 where they agree, below 0 where they mislead.

    NaN where no true value varies.
    """
    exact = truth.double()
    spread = (exact - exact.mean(0)).square().sum(0)
    if bool((spread <= len(exact) * (_SAME_SHARE * exact.abs().amax(0)).square()).all()):
        return math.nan
    return float(1 - (exact - found).square().sum() / spread.sum())


def conformation_error(
    latents: Float[Tensor, "n dims"],
    truth_rad: Float[Tensor, " n"],
    generator: torch.Generator,
    neighbours: int = 20,
) -> ConformationError:
    """Regress the angle of every particle from four fifths of the others (5-fold cross-validation).

    Raises
    ------
    InputError
        If there are fewer than ten particles.
    """
    return ConformationError(
        truth_rad,
        cross_validated(latents, truth_rad, generator, lambda k, v, z: regress_angles(k, v, z, neighbours)),
    )


def cross_validated(
    latents: Float[Tensor, "n dims"],
    values: Tensor,
    generator: torch.Generator,
    regress: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Regress the value of every particle from four fifths of the others.

    Parameters
    ----------
    latents, values
        One row per particle.
    generator
        Draws the folds.
    regress
        Called with known latents, their values and the latents whose values are wanted.

    Raises
    ------
    InputError
        If there are fewer than ten particles.
    """
    if len(latents) < 2 * _FOLDS:
        raise InputError(
            "there are too few particles to cross-validate",
            expected=f"at least {2 * _FOLDS}",
            found=len(latents),
            remedy="Give more particles",
        )
    fold = torch.randperm(len(latents), generator=generator) % _FOLDS
    found = torch.empty_like(values)
    for number in range(_FOLDS):
        held_out = fold == number
        found[held_out] = regress(latents[~held_out], values[~held_out], latents[held_out])
    return found
