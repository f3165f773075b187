"""Rounds that refine poses, class memberships and the half-maps of all classes together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.constants import FSC_TO_TRUTH
from vitreous.fourier.shells import crossing_shell
from vitreous.methods.search.junk import gain_deviates
from vitreous.methods.search.refinement import RefinementState
from vitreous.methods.search.second_look import SecondLook
from vitreous.typing import Bool, Float

NEGLIGIBLE = 1e-3
"""A particle is inserted into the classes that hold at least this share of it …"""

CONSIDERED = 1e-6
"""… and compared with all others too, at a weight that changes nothing."""

SETTLED_SHARE = 0.005
"""Memberships have settled when fewer particles than this change their class and the radius grows no more."""

RADIUS_GROWTH = 1.2

LOOK_EVERY, MOST_LOOKS = 3, 3
"""After every three rounds, twice at most, and once memberships settle, particles that may be in the wrong class are
searched over all orientations in every class: a pose that the first map of a class did not show keeps a particle out
of it, however good the map has become since."""

SURE_POSTERIOR = 0.99
UNLIKELY_DEVIATE = 1.0
"""Such particles are not as sure as that of their class, or gain so many standard deviations less there than half of
its particles do."""


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
    looks, since_look
        Searches of doubtful particles done, and rounds since the last one.
    """

    classes: tuple[RefinementState, ...]
    posteriors: Float[Tensor, "n c"]
    rounds: int = 0
    moved: float = 1.0
    looks: int = 0
    since_look: int = 0

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
        progress = (self.rounds, self.moved, self.looks, self.since_look)
        return named | {"posteriors": self.posteriors, "progress": torch.tensor(progress, dtype=torch.float64)}

    @staticmethod
    def from_tensors(saved: dict[str, Tensor]) -> "ClassState":
        """Inverse of :meth:`tensors`."""
        rounds, moved, looks, since_look = (*saved["progress"].tolist(), 0, 0)[:4]
        posteriors = saved["posteriors"]
        states = []
        for k in range(posteriors.shape[1]):
            prefix = f"class{k}/"
            own = {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
            states.append(RefinementState.from_tensors(own))
        return ClassState(tuple(states), posteriors, int(rounds), moved, int(looks), int(since_look))


class ClassRounds:
    """Alternates refinement of every class with new memberships.

    Parameters
    ----------
    second_look
        Search of some particles against the half-maps of one class; its refinement does the rounds of a class, and the
        settings of that say how many there are at most.
    """

    def __init__(self, second_look: SecondLook) -> None:
        self.second_look, self.refinement = second_look, second_look.refinement
        self.rounds = self.refinement.settings.rounds

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
            while state.rounds < self.rounds and not self._is_done(state):
                state = self.round(self._looked_again(state) if self._is_time_to_look(state) else state)
                after_round(state)
                progress.advance()
        return state

    def _is_time_to_look(self, state: ClassState) -> bool:
        """Every few rounds, with the last look kept for when memberships have settled."""
        settled, due = self._is_settled(state), state.since_look >= LOOK_EVERY
        return (settled and state.looks < MOST_LOOKS) or (due and state.looks < MOST_LOOKS - 1)

    def _looked_again(self, state: ClassState) -> ClassState:
        """Poses in every class, of particles that may be in the wrong one, from a search over all orientations."""
        doubtful = self._doubtful(state)
        looked = tuple(self.second_look.at(one, doubtful) for one in state.classes)
        return replace(state, classes=looked, looks=state.looks + 1, since_look=0)

    def _doubtful(self, state: ClassState) -> Bool[Tensor, " n"]:
        """Which particles are not sure of their class, or gain little there."""
        doubtful, chosen = state.posteriors.amax(1) < SURE_POSTERIOR, state.posteriors.argmax(1)
        for c, one in enumerate(state.classes):
            mine = chosen == c
            if bool(mine.any()):
                half_sets = torch.where(mine, self.refinement.half_sets, 0)
                deviates, _ = gain_deviates(self.refinement.store, one, half_sets)
                doubtful |= mine & (deviates < deviates[mine].median() - UNLIKELY_DEVIATE)
        return doubtful

    def _is_settled(self, state: ClassState) -> bool:
        return state.moved < SETTLED_SHARE and state.radius <= state.classes[0].last_radius + 0.5

    def _is_done(self, state: ClassState) -> bool:
        """Whether memberships settled, and another look at doubtful particles changed nothing."""
        looked = state.looks == MOST_LOOKS or (state.looks > 0 and state.since_look == 1)
        return looked and self._is_settled(state)

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
        done, since_look = state.rounds + 1, state.since_look + 1
        return ClassState(tuple(after), posteriors, done, moved, state.looks, since_look)

    @staticmethod
    def _weights(posterior: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return torch.where(posterior < NEGLIGIBLE, CONSIDERED, posterior)

    def _next_radius(self, radius: float, refined: list[RefinementState]) -> float:
        """Up to where the best class is reliable, but never less than now."""
        largest = self.refinement.largest_radius
        shells = [crossing_shell(one.curve, FSC_TO_TRUTH) for one in refined]
        reached = max(largest if shell is None else float(shell) for shell in shells)
        return min(max(radius, min(radius * RADIUS_GROWTH, reached)), largest)
