"""What every method that finds poses asks of its input."""

from vitreous.compute.progress import Progress
from vitreous.data import Particles
from vitreous.errors import ConfigError, InputError
from vitreous.reconstruct.diameter import estimate_diameter_A

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
            "too few particles to find their poses",
            expected=f"at least {MIN_PARTICLES}",
            found=len(particles),
            remedy="Give more particles, or use `vitreous reconstruct` if they have poses",
        )
    side_A = particles.box * particles.pixel_size_A
    if diameter_A is not None and diameter_A > side_A:
        raise ConfigError(
            "--diameter-A is larger than the box",
            expected=f"at most {side_A:.0f} Å, the side of the box",
            found=f"{diameter_A:.0f} Å",
            remedy="Give --diameter-A in Å, check the pixel size, or extract the particles in a larger box",
        )


def known_diameter_A(particles: Particles, given_A: float | None, progress: Progress) -> tuple[float, list[str]]:
    """Return the diameter that was given, or an estimate from the images, and a warning where they show no edge."""
    if given_A is not None:
        return given_A, []
    diameter_A, seen = estimate_diameter_A(particles)
    progress.message(f"Particle diameter: {diameter_A:.0f} Å")
    if seen:
        return diameter_A, []
    return diameter_A, [
        f"The images show no clear edge of the particle; a diameter of {diameter_A:.0f} Å was assumed, which sets the "
        "masks. Give --diameter-A if you know it."
    ]
