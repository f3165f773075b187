"""What a simulated stack is made of: settings only, without the code that uses them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vitreous.errors import ConfigError

PHANTOM = "phantom"
"""Name of the built-in specimen."""


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of a simulated stack; every random quantity is drawn from its own stream of the seed."""

    n: int = 3000
    """Number of particles."""

    box: int = 64
    """Side of the images in pixels."""

    pixel_size: float | None = None
    """Side of a pixel in Å; when not given, the specimen's diameter fills 80 % of the box."""

    resolution: float | None = None
    """Resolution of the ground truth in Å (soft low-pass, amplitude 1/2 there); 2.2 pixels when not given."""

    snr: float = 0.1
    """Variance of the CTF-modulated noise-free images over the variance of the noise, over the whole box and the whole
    stack; inf makes noise-free images of variance 1."""

    shift: float = 2.0
    """Shifts are uniform within plus or minus this many pixels, in x and in y."""

    views: str = "uniform"
    """uniform, preferred, or a STAR file whose orientations are taken in turn."""

    preferred_axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Preferred beam direction in the specimen's frame, x y z."""

    concentration: float = 5.0
    """Concentration of preferred views (von Mises-Fisher's kappa; 0 is uniform)."""

    ctf: str = "random"
    """random, none, or a file from whose rows CTFs are drawn: .npz (dfu_A, dfv_A, dfang_deg, kv, cs_mm, amp and,
    where there are any, phase_deg) or STAR."""

    defocus: tuple[float, float] = (8000.0, 25000.0)
    """Range of the mean defocus in Å, positive under focus."""

    astigmatism: float = 600.0
    """Largest difference of the two defoci in Å."""

    voltage: float = 300.0
    """Acceleration voltage in kV."""

    cs: float = 2.7
    """Spherical aberration in mm."""

    amplitude_contrast: float = 0.1
    """Share of amplitude contrast."""

    bfactor: float = 0.0
    """B of the CTF's envelope exp(-B s²/4) in Å²."""

    noise: Literal["white", "coloured"] = "white"
    """Spectrum of the noise: white, or coloured with power proportional to 1/4 + 1 / (1 + (s · noise-scale)²)."""

    noise_scale: float = 40.0
    """Length in Å at which coloured noise falls."""

    contrast: Literal["bright", "dark"] = "bright"
    """Sign of the particles on their background."""

    unseen: float = 0.0
    """Share of the particles that train.star lacks and unseen_particles.star holds."""

    unseen_states: float = 0.0
    """Share of the states, evenly spaced, all of whose particles are in unseen_states.star."""

    float16: bool = False
    """Write the stack as float16 (MRC mode 12)."""

    seed: int = 0
    """Seed of all random quantities."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated, naming the flag."""
        at_least_one = {"--n": self.n >= 1, "--box": self.box >= 8}
        positive = {
            "--snr": self.snr,
            "--voltage": self.voltage,
            "--noise-scale": self.noise_scale,
            "--pixel-size": 1.0 if self.pixel_size is None else self.pixel_size,
            "--resolution": 1.0 if self.resolution is None else self.resolution,
        }
        not_negative = {
            "--shift": self.shift,
            "--concentration": self.concentration,
            "--astigmatism": self.astigmatism,
            "--cs": self.cs,
            "--bfactor": self.bfactor,
            "--seed": self.seed,
        }
        for flag, fits in at_least_one.items():
            _require(fits, flag, "at least 1" if flag == "--n" else "at least 8", getattr(self, flag[2:]))
        for flag, value in positive.items():
            may_be_infinite = flag == "--snr" and value > 0
            _require(may_be_infinite or 0 < value < math.inf, flag, "a positive number", value)
        for flag, value in not_negative.items():
            _require(0 <= value < math.inf, flag, "a number from 0 up", value)
        self._check_optics_and_views()

    def _check_optics_and_views(self) -> None:
        low, high = self.defocus
        _require(-math.inf < low <= high < math.inf, "--defocus", "two numbers, the smaller first", f"{low:g} {high:g}")
        _require(0 <= self.amplitude_contrast <= 1, "--amplitude-contrast", "0 to 1", self.amplitude_contrast)
        for flag, share in (("--unseen", self.unseen), ("--unseen-states", self.unseen_states)):
            _require(0 <= share <= 0.5, flag, "a share from 0 to 0.5", share)
        _require(self.shift < self.box / 2, "--shift", "less than half the box", self.shift)
        _require(self.concentration <= 300, "--concentration", "at most 300", self.concentration)
        norm = math.hypot(*self.preferred_axis)
        _require(0 < norm < math.inf, "--preferred-axis", "a direction", self.preferred_axis)


def _require(fits: bool, flag: str, expected: str, found: object) -> None:  # noqa: FBT001
    if not fits:
        raise ConfigError(
            f"{flag} cannot be used", expected=expected, found=found, remedy=f"Give another value to {flag}"
        )


@dataclass(frozen=True)
class SpecimenConfig:
    """Which conformations and compositions a stack holds."""

    hinge_angles: tuple[float, ...] = ()
    """Angles of a hinge in degrees, right-handed: one number, several, or with --states the ends of a range."""

    states: int | None = None
    """Number of states, evenly spaced over --hinge-angles or interpolated between the frames of a trajectory."""

    hinge_chains: tuple[str, ...] = ()
    """What turns in a structure: chains, or residues such as B:2-222 (the phantom's arm turns by itself)."""

    hinge_point: tuple[float, float, float] | None = None
    """A point on a structure's hinge axis, x y z in Å."""

    hinge_axis: tuple[float, float, float] | None = None
    """Direction of a structure's hinge axis, x y z."""

    hinge_random: int | None = None
    """Number of random orientations of --hinge-chains about --hinge-point, without collisions; instead of angles."""

    mixture: tuple[Path, ...] = ()
    """More structures, mixed into the stack as further states."""

    weights: tuple[float, ...] = ()
    """Shares of STRUCTURE and of each of --mixture; equal when not given."""

    centre_each: bool = False
    """Centre every structure of a mixture on its own centre of mass instead of keeping a common frame."""

    assembly: str | None = None
    """Name of the biological assembly to build from a structure file; the deposited coordinates when not given."""

    chains: tuple[str, ...] = ()
    """Keep these chains of STRUCTURE alone, or residues such as B:2-222; all by default."""

    waters: bool = False
    """Keep water molecules."""

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if self.states is not None and self.states < 1:
            raise ConfigError("--states must be at least 1", found=self.states, remedy="Give a positive number")
        if self.hinge_random is not None and self.hinge_random < 1:
            raise ConfigError(
                "--hinge-random must be at least 1", found=self.hinge_random, remedy="Give a positive number"
            )
        if self.hinge_random is not None and (self.hinge_angles or self.states is not None):
            raise ConfigError("--hinge-random excludes --hinge-angles and --states", remedy="Give one of them")
        if self.weights and not self.mixture:
            raise ConfigError("--weights needs --mixture", remedy="Name the other structures, or leave it out")
