"""From what a user names to a specimen with states."""

from dataclasses import dataclass
from pathlib import Path

from vitreous.errors import ConfigError
from vitreous.simulate.atoms import Atoms, read_atoms
from vitreous.simulate.motions import (
    FrameSeries,
    Hinge,
    HingeTurn,
    Mixture,
    Motion,
    Rigid,
    phantom_hinge,
    read_trajectory,
)
from vitreous.simulate.recipes import evenly_spaced

PHANTOM = "phantom"
"""Name of the built-in specimen."""


@dataclass(frozen=True)
class SpecimenConfig:
    """Which conformations and compositions a stack holds."""

    hinge_angles: tuple[float, ...] = ()
    """Angles of a hinge in degrees, right-handed: one number, several, or with --states the ends of a range."""

    states: int | None = None
    """Number of states, evenly spaced over --hinge-angles or interpolated between the frames of a trajectory."""

    hinge_chains: tuple[str, ...] = ()
    """Chains of a structure that turn (the phantom's arm turns by itself)."""

    hinge_point: tuple[float, float, float] | None = None
    """A point on a structure's hinge axis, x y z in Å."""

    hinge_axis: tuple[float, float, float] | None = None
    """Direction of a structure's hinge axis, x y z."""

    mixture: tuple[Path, ...] = ()
    """More structures, mixed into the stack as further states."""

    weights: tuple[float, ...] = ()
    """Shares of STRUCTURE and of each of --mixture; equal when not given."""

    centre_each: bool = False
    """Centre every structure of a mixture on its own centre of mass instead of keeping a common frame."""

    assembly: str | None = None
    """Name of the biological assembly to build from a structure file; the deposited coordinates when not given."""

    waters: bool = False
    """Keep water molecules."""

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if self.states is not None and self.states < 1:
            raise ConfigError("--states must be at least 1", found=self.states, remedy="Give a positive number")
        if self.weights and not self.mixture:
            raise ConfigError("--weights needs --mixture", remedy="Name the other structures, or leave it out")


def build_specimen(structure: str, config: SpecimenConfig) -> Motion:
    """Return the specimen: the phantom, a structure file or a trajectory (.npz), with its motion or mixture.

    Raises
    ------
    ConfigError, InputError
        If options do not fit together or a file cannot be used.
    """
    motion = _moving(structure, config)
    if not config.mixture:
        return motion
    others = (Rigid(_atoms(str(path), config), path.name) for path in config.mixture)
    return Mixture((motion, *others), config.weights, shared_frame=not config.centre_each)


def _moving(structure: str, config: SpecimenConfig) -> Motion:
    if structure == PHANTOM:
        if config.hinge_chains or config.hinge_point or config.hinge_axis:
            raise ConfigError(
                "the phantom has its own hinge", remedy="Leave out --hinge-chains, --hinge-point and --hinge-axis"
            )
        return phantom_hinge(_angles(config) or (0.0,))
    if structure.endswith(".npz"):
        if config.hinge_angles:
            raise ConfigError("--hinge-angles does not go with a trajectory", remedy="Leave it out")
        series = read_trajectory(structure)
        return FrameSeries(series.atoms, series.xyz_A, config.states)
    angles = _angles(config)
    if not angles:
        return Rigid(_atoms(structure, config), Path(structure).name)
    if not config.hinge_chains or config.hinge_point is None or config.hinge_axis is None:
        raise ConfigError(
            "--hinge-angles needs to know the hinge of this structure",
            remedy="Give --hinge-chains, --hinge-point and --hinge-axis",
        )
    hinge = Hinge(config.hinge_chains, config.hinge_point, config.hinge_axis)
    return HingeTurn(_atoms(structure, config), hinge, angles)


def _atoms(structure: str, config: SpecimenConfig) -> Atoms:
    return read_atoms(structure, keep_waters=config.waters, assembly=config.assembly)


def _angles(config: SpecimenConfig) -> tuple[float, ...]:
    if config.states is None:
        return config.hinge_angles
    if len(config.hinge_angles) != 2:
        raise ConfigError(
            "--states needs the ends of a range of angles",
            expected="--hinge-angles LOW HIGH",
            found=" ".join(f"{angle:g}" for angle in config.hinge_angles) or "none",
            remedy="Give two angles, or leave --states out",
        )
    return evenly_spaced(*config.hinge_angles, config.states)
