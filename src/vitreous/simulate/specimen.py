"""From what a user names to a specimen with states."""

from pathlib import Path

from vitreous.errors import ConfigError
from vitreous.simulate.atoms import Atoms, read_atoms
from vitreous.simulate.config import PHANTOM, SpecimenConfig
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
from vitreous.simulate.random_hinge import RandomHinge
from vitreous.simulate.recipes import evenly_spaced


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
    others = (Rigid(_read(str(path), config), path.name) for path in config.mixture)
    return Mixture((motion, *others), config.weights, shared_frame=not config.centre_each)


def _moving(structure: str, config: SpecimenConfig) -> Motion:
    if config.chains and (structure == PHANTOM or structure.endswith(".npz")):
        raise ConfigError("--chains needs a structure file", found=structure, remedy="Leave --chains out")
    if structure == PHANTOM:
        if config.hinge_chains or config.hinge_point or config.hinge_axis or config.hinge_random:
            raise ConfigError(
                "the phantom has its own hinge", remedy="Leave out every --hinge option but --hinge-angles"
            )
        return phantom_hinge(_angles(config) or (0.0,))
    if structure.endswith(".npz"):
        if config.hinge_angles or config.hinge_random:
            raise ConfigError("a hinge, --hinge-angles, does not go with a trajectory", remedy="Leave it out")
        series = read_trajectory(structure)
        return FrameSeries(series.atoms, series.xyz_A, config.states)
    if config.hinge_random is not None:
        return _random_hinge(structure, config.hinge_random, config)
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


def _random_hinge(structure: str, n_states: int, config: SpecimenConfig) -> RandomHinge:
    if not config.hinge_chains or config.hinge_point is None:
        raise ConfigError(
            "--hinge-random needs to know the hinge of this structure", remedy="Give --hinge-chains and --hinge-point"
        )
    return RandomHinge(_atoms(structure, config), config.hinge_chains, config.hinge_point, n_states)


def _atoms(structure: str, config: SpecimenConfig) -> Atoms:
    atoms = _read(structure, config)
    return atoms.only(config.chains) if config.chains else atoms


def _read(structure: str, config: SpecimenConfig) -> Atoms:
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
