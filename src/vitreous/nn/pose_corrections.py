"""Corrections of given poses that are learned together with a map: number by number, or by a network of the image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vitreous.errors import ConvergenceError
from vitreous.fourier.frequencies import Disc
from vitreous.geometry.rotations import rotation_from_axes, rotation_from_vector
from vitreous.nn.encoders import flipped_hartley
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.physics.shifts import disc_phases
from vitreous.typing import Complex, Float, Rotations

_SHIFT_RANGE = 0.1
"""Farthest shift that the network of the image can say, in boxes."""


class PoseCorrections(nn.Module, ABC):
    """Poses near given ones; at first they are the given ones."""

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Rotations, Float[Tensor, "b 2"]]:
        """Return corrected rotations, in the precision of the given ones, and further shifts in boxes.

        Parameters
        ----------
        batch
            Of images at the box centre: ``values`` and ``ctf`` ``[b, k]``, given ``rotations`` ``[b, 3, 3]``, and
            ``rows``, their numbers in the particle set, ``[b]``.
        """

    def moved(
        self, batch: Mapping[str, Tensor], disc: Disc, *, moves: bool
    ) -> tuple[Complex[Tensor, "b k"], Rotations]:
        """Return the coefficients and the rotations of a batch at corrected poses; at given ones before these move.

        Raises
        ------
        ConvergenceError
            Where a pose is no number any more.
        """
        rotations, shifts = self(batch)
        if not (torch.isfinite(rotations).all() and torch.isfinite(shifts).all()):
            raise ConvergenceError(
                "the poses that are learned are no numbers any more",
                remedy="Lower the learning rate of the poses, or let them move later",
            )
        if not moves:
            rotations, shifts = batch["rotations"] + 0.0 * rotations, 0.0 * shifts
        return batch["values"] * disc_phases(-shifts * disc.box, disc), rotations


class PoseTable(PoseCorrections):
    """A turn (radians, in the frame of the image) and a shift (boxes) of every particle."""

    def __init__(self, particles: int) -> None:
        super().__init__()
        self.turns = nn.Parameter(torch.zeros(particles, 3))
        self.shifts = nn.Parameter(torch.zeros(particles, 2))

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Rotations, Float[Tensor, "b 2"]]:
        """Turn the given rotations."""
        rows, given = batch["rows"], batch["rotations"]
        return rotation_from_vector(self.turns[rows].to(given)) @ given, self.shifts[rows]


class PoseEncoder(PoseCorrections):
    """A network of the phase-flipped image and of its given rotation (Liu et al. 2023, section 3.4).

    It adds to the first two rows of the given rotation, from which the corrected one is made (S²×S²: the first row is
    kept, the second made orthogonal to it), so that it can leave the given rotation as well as replace it.

    Parameters
    ----------
    count
        Coefficients of an image.
    width, layers
        Size and number of the residual layers.
    """

    def __init__(self, count: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.network = ResidualMLP(2 * count + 9, 8, width=width, layers=layers)
        nn.init.zeros_(self.network.last.weight)
        nn.init.zeros_(self.network.last.bias)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Rotations, Float[Tensor, "b 2"]]:
        """Add to the axes; shifts lie within a range by a hyperbolic tangent."""
        given = batch["rotations"]
        seen = torch.cat([flipped_hartley(batch["values"], batch["ctf"]), given.flatten(1).float()], -1)
        axes, shifts = self.network(seen).float().split([6, 2], -1)
        first, second = (given[:, :2] + axes.unflatten(-1, (2, 3)).to(given)).unbind(1)
        return rotation_from_axes(first, second), _SHIFT_RANGE * torch.tanh(shifts)
