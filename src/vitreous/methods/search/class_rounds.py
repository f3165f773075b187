"""Rounds that refine poses, class memberships and the half-maps of all classes together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.constants import FSC_TO_TRUTH
from vitreous.fourier.shells import crossing_shell
from vitreous.methods.search.refinement import Refinement, RefinementState
from vitreous.typing import Float

NEGLIGIBLE = 1e-3
"""A particle is inserted into the classes that hold at least this share of it …"""

CONSIDERED = 1e-6
"""… and compared with all others too, at a weight that changes nothing."""

SETTLED_SHARE = 0.005
"""Rounds end when fewer particles than this change their class and the radius grows no more."""

RADIUS_GROWTH = 1.2


@dataclass(frozen=True)
class ClassState:
    """Poses in every class, memberships and maps between two rounds.

    Attributes
    ----------
    classes
        State of each class, all of one radius and noise.
    posteriors
        Probability of every class for every particle.
    rounds, moved
        Rounds done, and the share of the particles that the last one gave another class.
    """

    classes: tuple[RefinementState, ...]
    posteriors: Float[Tensor, "n c"]
    rounds: int = 0
    moved: float = 1.0

    @property
    def rotations(self) -> Float[Tensor, "n c 3 3"]:
        """Rotation of every particle in every class."""
        return torch.stack([state.rotations for state in self.classes], 1)

    @property
    def shifts_px(self) -> Float[Tensor, "n c 2"]:
        """Shift of every particle in every class."""
        return torch.stack([state.shifts_px for state in self.classes], 1)

    @property
    def radius(self) -> float:
        """Radius of the next round."""
        return self.classes[0].radius

    def metrics(self) -> dict[str, Any]:
        """Numbers worth a line in the log."""
        shares = self.posteriors.mean(0)
        return {
            "round": self.rounds,
            "radius": self.classes[0].last_radius,
            "moved": self.moved,
            **{f"class_{k}_share": float(share) for k, share in enumerate(shares, start=1)},
        }

    def tensors(self) -> dict[str, Tensor]:
        """Everything, as tensors to save."""
        named = {
            f"class{k}/{name}": value for k, state in enumerate(self.classes) for name, value in state.tensors().items()
        }
        return named | {"posteriors": self.posteriors, "progress": torch.tensor([float(self.rounds), self.moved])}

    @staticmethod
    def from_tensors(saved: dict[str, Tensor]) -> "ClassState":
        """Inverse of :meth:`tensors`."""
        rounds, moved = saved["progress"].tolist()
        posteriors = saved["posteriors"]
        states = []
        for k in range(posteriors.shape[1]):
            prefix = f"class{k}/"
            own = {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
            states.append(RefinementState.from_tensors(own))
        return ClassState(tuple(states), posteriors, int(rounds), moved)


class ClassRounds:
    """Alternates refinement of every class with new memberships.

    Parameters
    ----------
    refinement
        Rounds of one class; its settings say how many there are at most.
    """

    def __init__(self, refinement: Refinement) -> None:
        self.refinement, self.rounds = refinement, refinement.settings.rounds

    def start(
        self, found: dict[str, Tensor], noise: Float[Tensor, " s"], maps: Float[Tensor, "2 c z y x"]
    ) -> ClassState:
        """State before the first round, from poses and evidence of a global search in every class."""
        posteriors = torch.softmax(found["log_evidence"].double(), 1).float()
        states = [
            self.refinement.start((found["rotations"][:, c], found["shifts_px"][:, c]), noise, (maps[0, c], maps[1, c]))
            for c in range(posteriors.shape[1])
        ]
        return ClassState(tuple(states), posteriors)

    def run(self, state: ClassState, progress: Progress, after_round: Callable[[ClassState], None]) -> ClassState:
        """Go on until memberships settle or the rounds are used up."""
        with progress.stage("Refining classes", total=self.rounds - state.rounds):
            while state.rounds < self.rounds and not self._is_settled(state):
                state = self.round(state)
                after_round(state)
                progress.advance()
        return state

    def _is_settled(self, state: ClassState) -> bool:
        return state.moved < SETTLED_SHARE and state.radius <= state.classes[0].last_radius + 0.5

    def round(self, state: ClassState) -> ClassState:
        """Refine every class with its share of the particles, then ask every particle again where it belongs."""
        refined = [
            self.refinement.round(one, self._weights(state.posteriors[:, c])) for c, one in enumerate(state.classes)
        ]
        costs = torch.stack([one.costs for one in refined], 1)
        posteriors = torch.softmax(-costs.double(), 1).float()
        moved = float((posteriors.argmax(1) != state.posteriors.argmax(1)).float().mean())
        sizes = state.posteriors.sum(0)
        noise = torch.einsum("c,cs->s", sizes / sizes.sum(), torch.stack([one.noise for one in refined]))
        radius = self._next_radius(state.radius, refined)
        after = [replace(one, noise=noise, radius=radius, last_radius=state.radius) for one in refined]
        return ClassState(tuple(after), posteriors, state.rounds + 1, moved)

    @staticmethod
    def _weights(posterior: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return torch.where(posterior < NEGLIGIBLE, CONSIDERED, posterior)

    def _next_radius(self, radius: float, refined: list[RefinementState]) -> float:
        """Up to where the best class is reliable, but never less than now."""
        largest = self.refinement.largest_radius
        shells = [crossing_shell(one.curve, FSC_TO_TRUTH) for one in refined]
        reached = max(largest if shell is None else float(shell) for shell in shells)
        return min(max(radius, min(radius * RADIUS_GROWTH, reached)), largest)
