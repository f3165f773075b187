"""A part of a structure in random orientations about a flexible linker."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.geometry.rotations import random_rotations, vector_from_rotation
from vitreous.simulate.atoms import Atoms
from vitreous.simulate.motions import State
from vitreous.simulate.streams import named_stream
from vitreous.typing import Bool, Float

_CONTACT_A = 2.5
_MAX_SHARE = 0.02
_TRIES = 200


@dataclass(frozen=True)
class RandomHinge:
    """A part turned about a point by rotations that are uniform but for those at which it would collide.

    A stand-in for a linker that is disordered: of the part's atoms at most 2 % come closer than 2.5 Å to the rest,
    which leaves room for the linker itself.

    Attributes
    ----------
    atoms
        The model.
    chains
        What moves: chains, or residues of them (:meth:`vitreous.simulate.atoms.Atoms.in_chains`).
    point_A
        Where the linker is, ``(x, y, z)`` in the model's coordinates.
    n_states
        How many orientations; the first few stay the same when more are asked for.
    """

    atoms: Atoms
    chains: tuple[str, ...]
    point_A: tuple[float, float, float]
    n_states: int

    def states(self) -> list[State]:
        """Return the orientations, equally populated; coordinates are the rotation vector in degrees.

        Raises
        ------
        ConfigError
            If the chains are none or all of the model's, or nearly every orientation collides.
        """
        moving = self.atoms.moving_part(self.chains)
        point = torch.tensor(self.point_A, dtype=torch.float64)
        arms = self.atoms.xyz_A[moving] - point
        rotations = self._free_rotations(arms, self.atoms.xyz_A[~moving] - point)
        vectors_deg = torch.rad2deg(vector_from_rotation(rotations))
        return [self._state(moving, arms @ R.T + point, v.tolist()) for R, v in zip(rotations, vectors_deg)]

    def _state(self, moving: Bool[Tensor, " n"], turned: Float[Tensor, "m 3"], vector_deg: list[float]) -> State:
        xyz = self.atoms.xyz_A.clone()
        xyz[moving] = turned
        x, y, z = vector_deg
        return State(self.atoms.at(xyz), f"turned by {x:+.1f} {y:+.1f} {z:+.1f} deg", coordinates=(x, y, z))

    def _free_rotations(self, arms: Float[Tensor, "m 3"], rest: Float[Tensor, "k 3"]) -> Float[Tensor, "n 3 3"]:
        tree, generator = cKDTree(rest.numpy()), named_stream(0, "random hinge")
        found: list[Tensor] = []
        for _ in range(_TRIES * self.n_states):
            R = random_rotations(1, generator)[0].double()
            distances = tree.query((arms @ R.T).numpy(), distance_upper_bound=_CONTACT_A)[0]
            if float(np.isfinite(distances).mean()) <= _MAX_SHARE:
                found.append(R)
            if len(found) == self.n_states:
                return torch.stack(found)
        raise ConfigError(
            "--hinge-random: the part collides with the rest in nearly every orientation",
            found=f"{len(found)} free orientations in {_TRIES * self.n_states}",
            remedy="Move --hinge-point towards the linker, or name other --hinge-chains",
        )
