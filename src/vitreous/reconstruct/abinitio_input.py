"""What every ab initio method asks of its input."""

from vitreous.data import Particles
from vitreous.errors import ConfigError, InputError

MIN_PARTICLES = 100


def check_input(particles: Particles, diameter_A: float | None) -> None:
    """Refuse what no method can start from.

    Raises
    ------
    InputError
        If there are fewer than 100 particles.
    ConfigError
        If the diameter is larger than the side of the box.
    """
    if len(particles) < MIN_PARTICLES:
        raise InputError(
            "too few particles for ab initio",
            expected=f"at least {MIN_PARTICLES}",
            found=len(particles),
            remedy="Give more particles, or use `vitreous reconstruct` if they have poses",
        )
    side_A = particles.box * particles.pixel_size_A
    if diameter_A is not None and diameter_A > side_A:
        raise ConfigError(
            "--diameter is larger than the box",
            expected=f"at most {side_A:.0f} Å, the side of the box",
            found=f"{diameter_A:.0f} Å",
            remedy="Give --diameter in Å, check the pixel size, or extract the particles in a larger box",
        )
