"""Motions and mixtures: how a specimen becomes a list of states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.errors import ConfigError, InputError
from vitreous.simulate.arrays import numbers, read_arrays
from vitreous.simulate.atoms import Atoms, check_atoms
from vitreous.simulate.phantom import HINGE_AXIS, HINGE_CHAINS, HINGE_POINT_A, Phantom, turn
from vitreous.typing import Float, PathLike

_DEFAULT_B_A2 = 30.0


@dataclass(frozen=True)
class State:
    """One conformation or composition of a specimen.

    Attributes
    ----------
    atoms
        The model; all states of a specimen share one frame.
    label
        What the state is, in words.
    weight
        Share of the particles, in any unit.
    coordinates
        Where the state lies along the motion (an angle in degrees, a frame number); the true latent of its particles.
    """

    atoms: Atoms
    label: str
    weight: float = 1.0
    coordinates: tuple[float, ...] = ()


@runtime_checkable
class Motion(Protocol):
    """Anything that yields states."""

    def states(self) -> list[State]:
        """Return the states in order."""
        ...


@dataclass(frozen=True)
class Rigid:
    """A single state."""

    atoms: Atoms
    label: str = "rigid"

    def states(self) -> list[State]:
        """Return the one state."""
        return [State(self.atoms, self.label, coordinates=(0.0,))]


@dataclass(frozen=True)
class Hinge:
    """An axis through a point, and the chains that turn about it.

    Attributes
    ----------
    chains
        What moves: chains, or residues of them (:meth:`vitreous.simulate.atoms.Atoms.in_chains`).
    point_A, axis
        A point on the axis and its direction, ``(x, y, z)`` in the model's coordinates.
    """

    chains: tuple[str, ...]
    point_A: tuple[float, float, float]
    axis: tuple[float, float, float]


PHANTOM_HINGE = Hinge(HINGE_CHAINS, HINGE_POINT_A, HINGE_AXIS)
"""The hinge of :class:`vitreous.simulate.phantom.Phantom`."""


@dataclass(frozen=True)
class HingeTurn:
    """Some chains turned about an axis by given angles (right-handed, degrees)."""

    atoms: Atoms
    hinge: Hinge
    angles_deg: tuple[float, ...]

    def states(self) -> list[State]:
        """Return one state per angle, equally populated.

        Raises
        ------
        ConfigError
            If the chains are none or all of the model's, or the axis has no direction.
        """
        moving = self.atoms.moving_part(self.hinge.chains)
        if not any(self.hinge.axis):
            raise ConfigError("--hinge-axis has no direction", remedy="Give three numbers that are not all zero")
        point, axis = self.hinge.point_A, self.hinge.axis
        return [
            State(turn(self.atoms, moving, point, axis, angle_deg=a), f"hinge {a:+.2f} deg", coordinates=(a,))
            for a in self.angles_deg
        ]


def phantom_hinge(angles_deg: tuple[float, ...]) -> HingeTurn:
    """Return the phantom at several angles of its hinge; ConfigError where its domains would collide."""
    for angle in angles_deg:
        Phantom(angle)
    return HingeTurn(Phantom().atoms(), PHANTOM_HINGE, angles_deg)


@dataclass(frozen=True)
class FrameSeries:
    """Given frames of one model, or conformations interpolated between them.

    Attributes
    ----------
    atoms
        The model whose atoms move.
    xyz_A
        Positions, ``[frames, atoms, 3]``.
    n_states
        How many states to take, evenly spaced from the first frame to the last and interpolated linearly; None takes
        the frames themselves.
    """

    atoms: Atoms
    xyz_A: Float[torch.Tensor, "frames atoms 3"]
    n_states: int | None = None

    def states(self) -> list[State]:
        """Return the states, equally populated; their coordinate is the frame, from 0, with fractions."""
        last = len(self.xyz_A) - 1
        at = torch.linspace(0, last, len(self.xyz_A) if self.n_states is None else self.n_states, dtype=torch.float64)
        low = at.floor().long()
        frames = torch.lerp(
            self.xyz_A[low].double(), self.xyz_A[(low + 1).clamp_max(last)].double(), (at - low)[:, None, None]
        )
        return [State(self.atoms.at(xyz), f"frame {t:.2f}", coordinates=(t,)) for xyz, t in zip(frames, at.tolist())]


@dataclass(frozen=True)
class Mixture:
    """Several specimens in one stack.

    Attributes
    ----------
    parts
        The specimens; each may have several states.
    weights
        Share of the particles of each part, in any unit; equal shares when empty.
    shared_frame
        True where the parts' coordinates are in one frame (subcomplexes of one assembly); False puts the centre of
        mass of every part at the box centre.
    """

    parts: tuple[Motion, ...]
    weights: tuple[float, ...] = ()
    shared_frame: bool = True

    def states(self) -> list[State]:
        """Return the states of all parts; the first coordinate is the part's number, from 0."""
        weights = self.weights or (1.0,) * len(self.parts)
        if len(weights) != len(self.parts) or min(weights) < 0 or sum(weights) <= 0:
            raise ConfigError(
                "--weights does not fit the mixture",
                expected=f"{len(self.parts)} numbers that are not negative, one per structure",
                found=" ".join(f"{w:g}" for w in weights),
                remedy="Give one weight per structure",
            )
        return [state for i, (part, w) in enumerate(zip(self.parts, weights)) for state in self._states_of(part, i, w)]

    def _states_of(self, part: Motion, number: int, weight: float) -> list[State]:
        states = part.states()
        total = sum(state.weight for state in states)
        centre = torch.zeros(3, dtype=torch.float64) if self.shared_frame else common_centre_A(states)
        return [
            replace(
                state,
                atoms=state.atoms.at(state.atoms.xyz_A - centre),
                weight=weight * state.weight / total,
                coordinates=(float(number), *state.coordinates),
            )
            for state in states
        ]


def common_centre_A(states: Sequence[State]) -> Float[torch.Tensor, "3"]:
    """Mean of the states' centres of mass by weight: the point that all of them share as their centre."""
    weights = torch.tensor([state.weight for state in states], dtype=torch.float64)
    centres = torch.stack([state.atoms.centre_of_mass_A for state in states])
    return (weights[:, None] * centres).sum(0) / weights.sum()


def read_trajectory(path: PathLike) -> FrameSeries:
    """Read given frames from a ``.npz``: ``xyz`` [frames, atoms, 3] in Å and ``element`` [atoms].

    ``b_A2``, ``occupancy`` and ``chain`` (each [atoms]) may be there too; without them B is 30 Å², occupancy 1.

    Raises
    ------
    InputError
        If the file is unreadable or an array is missing or of the wrong shape.
    """
    arrays = read_arrays(path, "trajectory")
    xyz, element = arrays.get("xyz"), arrays.get("element")
    if xyz is None or element is None or not _fit_together(xyz, element):
        raise InputError(
            "is not a trajectory",
            expected="xyz [frames, atoms, 3] and element [atoms]",
            found=", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "no arrays",
            path=path,
            remedy="Save both arrays with numpy.savez",
        )
    if not np.isfinite(xyz).all():
        raise InputError("a frame holds positions that are not finite", path=path, remedy="Leave that frame out")
    n = len(element)
    chain = arrays.get("chain", np.full(n, "A"))
    if chain.shape != (n,):
        raise InputError("chain cannot be used", expected=f"{n} names", path=path, remedy="Correct that array")
    frames = torch.from_numpy(xyz.astype(np.float64))
    atoms = Atoms(
        element=element.astype(str),
        xyz_A=frames[0],
        b_A2=torch.from_numpy(numbers(arrays, "b_A2", n, path, _DEFAULT_B_A2)),
        occupancy=torch.from_numpy(numbers(arrays, "occupancy", n, path, 1.0)),
        chain=chain.astype(str),
    )
    check_atoms(atoms, path)
    return FrameSeries(atoms, frames)


def _fit_together(xyz: NDArray[Any], element: NDArray[Any]) -> bool:
    is_list = element.ndim == 1 and element.dtype.kind in "US"
    return is_list and xyz.dtype.kind in "iuf" and xyz.size > 0 and xyz.shape[1:] == (len(element), 3)
