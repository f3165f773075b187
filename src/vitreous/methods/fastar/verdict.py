"""Whether the network's poses can be trusted."""

from vitreous.typing import Float, Tensor

TRUSTED_SHELL, DOUBTED_SHELL = 4.0, 3.0
"""Where the halves' maps stop agreeing, in units of one over the particle's diameter."""

CHANCE_SPREAD_DEG = 80.0
"""Median angle between a particle's predictions in different frames from which they tell nothing."""


def judge(agreement_shell: float, diameter_share: float, spread_deg: Float[Tensor, " n"]) -> tuple[str, list[str]]:
    """Return verdict and reasons in plain words.

    Parameters
    ----------
    agreement_shell
        Fourier pixel at which the two halves' maps stop agreeing (FSC 0.5).
    diameter_share
        Diameter of the particle over the side of the box.
    spread_deg
        Median angle between each particle's predictions in different frames.
    """
    cycles = agreement_shell * diameter_share
    spread = float(spread_deg.median())
    if cycles < DOUBTED_SHELL or spread > CHANCE_SPREAD_DEG:
        return "failed", [
            f"The network is not confident: maps of the two halves agree to {cycles:.1f} cycles across the particle "
            f"(at least {DOUBTED_SHELL:.0f} are needed), and a particle's predictions differ by {spread:.0f}° "
            "between references. Use --method search."
        ]
    if cycles < TRUSTED_SHELL:
        return "ambiguous", [
            f"Maps of the two halves agree to {cycles:.1f} cycles across the particle only: take the map as a start."
        ]
    return "solved", []
