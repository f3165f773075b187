"""Orientations and in-plane shifts."""

from dataclasses import dataclass

from torch import Tensor

from vitreous.typing import Rotations, Shifts


@dataclass(frozen=True)
class Poses:
    """Where every particle points and lies.

    Attributes
    ----------
    rotations
        ``[n, 3, 3]`` with ``r_lab = R @ r_particle``.
    shifts_A
        ``[n, 2]``, ``(x, y)`` in Å: where the particle's centre lies relative to the box centre, +x to larger
        x index. RELION's ``rlnOriginXAngst`` is the negative of it.
    """

    rotations: Rotations
    shifts_A: Shifts

    def __post_init__(self) -> None:
        """Refuse arrays of different length."""
        if len(self.rotations) != len(self.shifts_A):
            message = f"{len(self.rotations)} rotations for {len(self.shifts_A)} shifts"
            raise ValueError(message)

    def __len__(self) -> int:
        return len(self.rotations)

    def select(self, indices: Tensor) -> "Poses":
        """Return the poses of some particles."""
        return Poses(self.rotations[indices], self.shifts_A[indices])
