"""Which particles do not look like projections of the map.

``G = Σ (2·Re⟨Y·C, P⟩ − C²·|P|²)/σ²`` is the log-likelihood gain of a particle at its pose. A projection of the map has
the mean gain ``E = Σ C²·|P|²/σ²`` with a variance of 2E, because the noise has σ²/2 in the direction of P. So the
deviate ``(G − E)/√(2E)`` is standard normal for true particles, and lower for all others. Two normal components are
fitted to it.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.processes import current_share, pieces
from vitreous.methods.search.refinement import RefinementState, images_at_a_time
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.target import Target
from vitreous.typing import Float, Int, Rotations, Shifts

WORTH_A_WARNING, DOUBTFUL = 0.05, 0.35
"""Shares of junk: worth a warning; a reason to doubt the map. Wrong maps of stacks without junk have been judged to
hold 0.46 and more of it."""

FITTED = 20_000
"""The components are fitted to so many particles, evenly over the file."""

STEPS, SETTLED = 1000, 1e-7
LEAST_GAP = 1.5
"""Widths of the true component by which the other must lie lower: contrast differs between particles, too."""

LEAST_SIGMA, LARGEST_SIGMA = 0.7, 2.0
"""Of true particles σ is 1; what the map lacks, and contrast, change that. Wider components explain anything."""


MOST_EXPLAINED = 0.75
"""Images that gain this share of what a projection of the map gains are no junk: in strong images, differences of
contrast and what the map lacks are many standard deviations of the noise."""


@dataclass(frozen=True)
class Component:
    """A normal distribution."""

    mean: float
    sigma: float

    def log_density(self, x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Logarithm of the density."""
        return -0.5 * ((x - self.mean) / self.sigma) ** 2 - math.log(self.sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Mixture:
    """Junk and true particles along the deviate of the gain.

    Attributes
    ----------
    share
        Share of the junk; 0 where the deviates show no second component.
    junk, true
        The components.
    """

    share: float
    junk: Component
    true: Component

    def probability(self, deviates: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Probability of being junk, which falls from the junk's mean to that of true particles."""
        if self.share == 0:
            return torch.zeros(len(deviates))
        x = deviates.double().clamp(self.junk.mean, self.true.mean)
        odds = self.junk.log_density(x) - self.true.log_density(x) + math.log(self.share / (1 - self.share))
        return torch.sigmoid(odds).float()


def junk_probabilities(
    store: CoefficientStore, state: RefinementState, half_sets: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Probability of every particle that it is no projection of the map, from a mixture fitted to all of them."""
    deviates, expected = gain_deviates(store, state, half_sets)
    mixture = fitted_mixture(deviates)
    return without_strong(mixture, expected).probability(deviates)


def without_strong(mixture: Mixture, expected: Float[Tensor, " n"]) -> Mixture:
    """The mixture, without junk where what it takes for junk gains most of what projections gain (``expected``)."""
    gained = 1 + mixture.junk.mean * math.sqrt(2 / max(float(expected.median()), 1e-6))
    return replace(mixture, share=0.0) if gained > MOST_EXPLAINED else mixture


def gain_deviates(
    store: CoefficientStore, state: RefinementState, half_sets: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """``(G − E)/√(2E)`` and E of every particle at its pose, against its half's map inside the last radius refined."""
    deviates, expected = torch.zeros(2, len(store))
    for number, reference in zip((1, 2), state.references, strict=True):
        rows = torch.nonzero(half_sets == number)[:, 0]
        if len(rows) == 0:
            continue
        target = Target.of(reference, store.disc, state.noise, max(state.last_radius, 1.0))
        poses = (state.rotations[rows], state.shifts_px[rows])
        deviates[rows], expected[rows] = gains_at(store, rows, poses, target)
    return deviates, expected


def gains_at(
    store: CoefficientStore,
    rows: Int[Tensor, " m"],
    poses: tuple[Rotations, Shifts],
    target: Target,
    *,
    beyond: float = 0.0,
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """``(G − E)/√(2E)`` and E of some particles at given poses, by the coefficients beyond a radius."""
    share, out = current_share(), torch.zeros(2, len(rows))
    counted = target.inverse_noise * (store.disc.shell[: target.count] >= beyond).to(target.device)
    for chunk in share.mine(pieces(torch.arange(len(rows)), images_at_a_time(target.count))):
        part = store.device_batch(rows[chunk], target.count)
        slices = target.slices(poses[0][chunk].to(target.device))
        data = target.centred(part, poses[1][chunk].to(target.device))
        cross = ((data.conj() * slices).real * counted).sum(1)
        expected = (part.c2 * slices.abs().square() * counted).sum(1)
        out[0, chunk] = ((cross - expected) * (2 / expected.clamp_min(1e-6)).sqrt()).cpu()
        out[1, chunk] = expected.cpu()
    share.sum_(out)
    return out[0], out[1]


def fitted_mixture(deviates: Float[Tensor, " n"]) -> Mixture:
    """Two normal components by expectation–maximisation, or one where two are not worth their three parameters (BIC).

    A second component also has to lie 1.5 widths below the first.
    """
    x = deviates[:: max(1, len(deviates) // FITTED)].double()
    low, middle, high = torch.quantile(x, torch.tensor([0.05, 0.5, 0.75], dtype=torch.float64)).tolist()
    fit = Mixture(0.2, Component(low, 1.0), Component(high, 1.0))
    before = -math.inf
    for _ in range(STEPS):
        logs = torch.stack(
            [
                fit.junk.log_density(x) + math.log(fit.share),
                fit.true.log_density(x) + math.log(1 - fit.share),
            ]
        )
        total = logs.logsumexp(0)
        likelihood = float(total.sum())
        if likelihood - before < SETTLED * len(x):
            break
        before = likelihood
        weights = (logs - total).exp()
        share = min(max(float(weights[0].mean()), 1e-4), 1 - 1e-4)
        fit = Mixture(share, _weighted(x, weights[0]), _weighted(x, weights[1]))
    alone = Component(float(x.mean()), float(x.std(correction=0).clamp_min(1e-6)))
    gain = 2 * (before - float(alone.log_density(x).sum()))
    is_apart = fit.true.mean - fit.junk.mean > LEAST_GAP * fit.true.sigma
    if is_apart and gain > 3 * math.log(len(x)):
        return fit
    return Mixture(0.0, Component(middle, 1.0), alone)


def _weighted(x: Float[Tensor, " n"], weights: Float[Tensor, " n"]) -> Component:
    total = weights.sum().clamp_min(1e-12)
    mean = float((weights * x).sum() / total)
    sigma = math.sqrt(float((weights * (x - mean) ** 2).sum() / total))
    return Component(mean, min(max(sigma, LEAST_SIGMA), LARGEST_SIGMA))


def junk_warnings(share: float) -> tuple[str, ...]:
    """Warning, with the remedy, where more than 5 % of the particles are junk."""
    if share <= WORTH_A_WARNING:
        return ()
    doubt = ": many are junk, or the map is wrong" if share > DOUBTFUL else ": junk, another particle, or a wrong pose"
    return (
        f"About {share:.0%} of the particles do not look like projections of the map{doubt}. "
        "`vitreous select RUN --where 'vitreousJunkProbability < 0.5' -o kept.star`, with this folder for RUN, leaves "
        "them out; run again on kept.star.",
    )
