"""Whether the network's poses can be trusted.

Three signs are asked. *Confidence*: what the network itself expects its errors to be. *Spread*: each half places every
particle in frames of several references, which do not know of each other's poses. *Agreement*: the halves' maps, which
share nothing but the network. The thresholds are calibrated on stacks whose poses are known
(``docs/methods/fastar.md``). No sign is enough alone: particles at random rotations make two balls, which agree to more
than three cycles.
"""

from vitreous.typing import Float, Tensor

TRUSTED_CYCLES, DOUBTED_CYCLES = 5.0, 3.5
"""Where the halves' maps stop agreeing, in units of one over the particle's diameter."""

TRUSTED_CONFIDENCE, DOUBTED_CONFIDENCE = 2.0, 1.2
"""Mean over particles; 1 is what the network says of what it cannot place."""

TRUSTED_SPREAD_DEG, DOUBTED_SPREAD_DEG = 20.0, 50.0
"""Median angle between a particle's predictions in different frames; by chance it is about 125°."""


def judge(
    agreement_shell: float, diameter_share: float, confidence: float, spread_deg: Float[Tensor, " n"] | None
) -> tuple[str, list[str]]:
    """Return verdict and reasons in plain words.

    Parameters
    ----------
    agreement_shell
        Fourier pixel at which the two halves' maps stop agreeing (FSC 0.5).
    diameter_share
        Diameter of the particle over the side of the box.
    confidence
        Mean confidence of the network, above 1.
    spread_deg
        Angle between each particle's predictions in different frames; None where there was one frame only.
    """
    cycles = agreement_shell * min(diameter_share, 1.0)
    spread = 0.0 if spread_deg is None else float(spread_deg.median())
    found = (
        f"its mean confidence is {confidence:.2f}, the halves' maps agree to {cycles:.1f} cycles across the particle"
    )
    if spread_deg is not None:
        found += f", and a particle's predictions differ by {spread:.0f}° between references"
    if cycles < DOUBTED_CYCLES or spread > DOUBTED_SPREAD_DEG or confidence < DOUBTED_CONFIDENCE:
        return "failed", [
            f"The network is not confident: {found}. At least {DOUBTED_CONFIDENCE:.1f}, {DOUBTED_CYCLES:.1f} cycles "
            f"and at most {DOUBTED_SPREAD_DEG:.0f}° are needed. Use --method search."
        ]
    if cycles < TRUSTED_CYCLES or spread > TRUSTED_SPREAD_DEG or confidence < TRUSTED_CONFIDENCE:
        return "ambiguous", [
            f"The network's poses are rough at best, and may be wrong: {found}. Take the map as a start for refinement."
        ]
    if spread_deg is None:
        return "ambiguous", [
            "There was one reference only, so that nothing tells whether another would give the same poses. "
            "Raise --network.references and --network.finalists to 2 or more."
        ]
    return "solved", []
