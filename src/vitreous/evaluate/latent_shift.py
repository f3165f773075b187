"""How far the latents of new particles are distributed from those of known ones."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vitreous.errors import InputError
from vitreous.typing import Float

_SAMPLES = 2000
_TRANSPORTED = 1000
_FEWEST = 10
_BANDWIDTHS = np.geomspace(0.01, 1.0, 25)


@dataclass(frozen=True)
class LatentShift:
    """Distances between two distributions of latents (CryoNOO, table 3).

    Attributes
    ----------
    kl_known_new, kl_new_known
        Kullback–Leibler divergence of the new from the known distribution, ``∫ p_known log(p_known / p_new)``, and the
        other way round; natural logarithm.
    total_variation
        0 where the two are equal, 1 where they do not overlap.
    jensen_shannon
        Divergence of both from their mean, at most log 2.
    hellinger
        ``√(1 − ∫ √(p_known p_new))``, from 0 to 1.
    wasserstein
        Mean distance in latent units over which one must be moved to become the other.
    bandwidth_known, bandwidth_new
        Of the kernel density estimates, in latent units.
    """

    kl_known_new: float
    kl_new_known: float
    total_variation: float
    jensen_shannon: float
    hellinger: float
    wasserstein: float
    bandwidth_known: float
    bandwidth_new: float

    def summary(self) -> dict[str, float]:
        """Return the figures, ready for JSON."""
        return asdict(self)


def latent_shift(
    known: Float[Tensor, "m dims"], new: Float[Tensor, "n new_dims"], generator: torch.Generator
) -> LatentShift:
    """Estimate the distances from as many points of either set, at most 2,000.

    Densities are sums of Gaussian kernels, of the bandwidth at which the points of a set are likeliest under the others
    of their set. A point never counts for its own density. Integrals are means over the points themselves, so that any
    number of dimensions will do. The Wasserstein distance is that of 1,000 points at most, matched one to one. Two
    samples of one distribution are not at distance 0, and where only one set has points its divergence from the other
    is exaggerated: compare with :func:`shift_within`.

    Raises
    ------
    InputError
        If there are fewer than ten latents in a set, or the sets differ in their dimensions.
    """
    if known.shape[1] != new.shape[1] or min(len(known), len(new)) < _FEWEST:
        raise InputError(
            "the latents cannot be compared",
            expected=f"two sets of equal dimension, of at least {_FEWEST} each",
            found=f"{len(known)} of {known.shape[1]} and {len(new)} of {new.shape[1]}",
            remedy="Give latents of one run, of more particles",
        )
    size = min(len(known), len(new), _SAMPLES)
    a, b = (_drawn(z, size, generator).double() for z in (known, new))
    within_a, within_b, between = (torch.cdist(x, y).square() for x, y in ((a, a), (b, b), (a, b)))
    dims = a.shape[1]
    h_a, h_b = (_best_bandwidth(within, dims) for within in (within_a, within_b))
    log_p = torch.cat([_log_density(within_a, h_a, dims, own=True), _log_density(between.T, h_a, dims)])
    log_q = torch.cat([_log_density(between, h_b, dims), _log_density(within_b, h_b, dims, own=True)])
    difference = log_p - log_q
    share = difference.sigmoid()  # of the known ones among the points at that place
    overlap = float((difference / 2).abs().clamp_max(300).cosh().reciprocal().mean())
    return LatentShift(
        kl_known_new=float(difference[:size].mean()),
        kl_new_known=float(-difference[size:].mean()),
        total_variation=float((difference / 2).abs().tanh().mean()),
        jensen_shannon=math.log(2) + float((torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share)).mean()),
        hellinger=math.sqrt(max(1 - overlap, 0.0)),
        wasserstein=_wasserstein(between[:_TRANSPORTED, :_TRANSPORTED].sqrt()),
        bandwidth_known=h_a,
        bandwidth_new=h_b,
    )


def shift_within(known: Float[Tensor, "m dims"], size: int, generator: torch.Generator) -> LatentShift:
    """Estimate the distances between two parts of one set, of ``size`` points where there are so many.

    That is what sampling alone makes of them; it depends on the size, so give that of the set that is compared.
    """
    order = torch.randperm(len(known), generator=generator)
    size = min(size, len(known) // 2)
    return latent_shift(known[order[:size]], known[order[size : 2 * size]], generator)


def _drawn(z: Tensor, size: int, generator: torch.Generator) -> Tensor:
    return z[torch.randperm(len(z), generator=generator)[:size]]


def _best_bandwidth(squared: Tensor, dims: int) -> float:
    """Bandwidth of the greatest leave-one-out likelihood; 0.01 to 1 times the root mean square distance is tried."""
    scale = math.sqrt(max(float(squared.mean()), 1e-30))
    tried = (scale * _BANDWIDTHS).tolist()
    return max(tried, key=lambda h: float(_log_density(squared, h, dims, own=True).mean()))


def _log_density(squared: Tensor, h: float, dims: int, *, own: bool = False) -> Tensor:
    """Log density at the points of the rows, from kernels at those of the columns; ``own`` leaves out the diagonal."""
    exponent = -squared / (2 * h * h)
    if own:
        exponent = exponent.masked_fill(torch.eye(len(squared), dtype=torch.bool), -math.inf)
    kernels = squared.shape[1] - own
    return exponent.logsumexp(1) - math.log(kernels) - dims * (math.log(h) + math.log(2 * math.pi) / 2)


def _wasserstein(distances: Tensor) -> float:
    """1-Wasserstein distance of equally many points of equal weight: the cheapest matching."""
    rows, columns = linear_sum_assignment(distances.numpy())
    return float(distances.numpy()[rows, columns].mean())
