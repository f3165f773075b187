"""Sets of standard views cut from particle stacks with known poses: the paper's third stage, and a score on them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitreous.data import Particles, Poses
from vitreous.errors import InputError
from vitreous.methods.fastar.centring import centre_shifts
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.simulator import ViewConfig
from vitreous.methods.fastar.standardise import best_treatment, field_of, standard_views
from vitreous.methods.fastar.trial import score_sets
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, CTF_UNKNOWN, Truth, Views
from vitreous.typing import Float, Int

_TRIAL_VIEWS = 32


@dataclass(frozen=True)
class PosedStack:
    """Particles of an asymmetric structure, with the poses that they have.

    Attributes
    ----------
    particles
        Their images are read when they are drawn.
    poses
        One per particle.
    diameter_A
        Diameter of the particle.
    """

    particles: Particles
    poses: Poses
    diameter_A: float

    @classmethod
    def of(cls, particles: Particles, diameter_A: float) -> "PosedStack":
        """Take particles with their poses.

        Raises
        ------
        InputError
            Where they have none.
        """
        if particles.poses is None:
            raise InputError("the particles have no poses", remedy="Give a stack whose poses were refined")
        return cls(particles, particles.poses, diameter_A)

    def select(self, rows: Int[Tensor, " m"]) -> "PosedStack":
        """Return a subset; images stay unread."""
        return PosedStack(self.particles.select(rows), self.poses.select(rows), self.diameter_A)

    def split(self, held_out: float, seed: int) -> tuple["PosedStack", "PosedStack"]:
        """Return a random part to train on, and the rest, of that share, to judge by."""
        order = torch.randperm(len(self.poses), generator=torch.Generator().manual_seed(seed))
        kept = round(held_out * len(order))
        return self.select(order[kept:].sort().values), self.select(order[:kept].sort().values)

    @property
    def treatments(self) -> list[int]:
        """What can be done about the CTF."""
        best = best_treatment(self.particles)
        if self.particles.ctf_premultiplied or best == CTF_UNKNOWN:
            return [best]
        return [CTF_UNKNOWN, CTF_FLIPPED, CTF_MULTIPLIED]


@dataclass(frozen=True)
class Cut:
    """How one set of views is cut.

    Attributes
    ----------
    rows
        Particles, the reference first.
    field_A
        Side of the view.
    treatment
        What is done about the CTF.
    centres_A
        Where the particles are thought to be; None centres them by correlation, as before any pose is known.
    """

    rows: Int[Tensor, " n"]
    field_A: float
    treatment: int
    centres_A: Float[Tensor, "n 2"] | None = None


def cut_set(stack: PosedStack, cut: Cut, box: int) -> tuple[Views, Truth]:
    """Cut one set of views ``[1, n, …]``; its true shifts are relative to where it was centred."""
    centres_A = cut.centres_A
    if centres_A is None:
        at_box_centre = torch.zeros(len(cut.rows), 2)
        whole, _ = standard_views(
            stack.particles, cut.rows, cut.field_A, at_box_centre, cut.treatment, box=box, masked=False
        )
        centres_A = cut.field_A * centre_shifts(whole[None])[0]
    images, ctf_size = standard_views(stack.particles, cut.rows, cut.field_A, centres_A, cut.treatment, box=box)
    poses = stack.poses.select(cut.rows)
    shifts = (poses.shifts_A - centres_A) / cut.field_A
    views = Views(images.float()[None], ctf_size.float()[None], torch.tensor([cut.treatment]))
    return views, Truth(poses.rotations.float()[None], shifts.float()[None])


@dataclass(frozen=True)
class PosedStacks:
    """Draws sets of views; each set shows one of the stacks, all with the same probability.

    As in simulated views, the CTF is left, flipped or multiplied by, the stated diameter is somewhat wrong, and some
    sets are centred as if by an earlier prediction, the others by correlation.

    Attributes
    ----------
    stacks
        At least one.
    box
        Side of a view in pixels.
    config
        For ``size`` and ``recentred``.
    """

    stacks: tuple[PosedStack, ...]
    box: int = 32
    config: ViewConfig = field(default_factory=ViewConfig)

    def draw(self, n: int, views: int, generator: torch.Generator) -> tuple[Views, Truth]:
        """Draw ``n`` sets onto the generator's device; all choices follow from the seed that it began with.

        Raises
        ------
        InputError
            Where a stack has fewer particles than a set has views.
        """
        dice, device = torch.Generator().manual_seed(generator.initial_seed()), generator.device
        drawn = [self._set(views, dice) for _ in range(n)]
        together = [
            torch.cat([getattr(part[i], name) for part in drawn]).to(device)
            for i, name in ((0, "images"), (0, "ctf_size"), (0, "treatment"), (1, "rotations"), (1, "shifts"))
        ]
        return Views(*together[:3]), Truth(*together[3:])

    def _set(self, views: int, dice: torch.Generator) -> tuple[Views, Truth]:
        stack = self.stacks[int(torch.randint(len(self.stacks), (), generator=dice))]
        rows = _some(stack, views, dice)
        scale, nearness, recentred = torch.rand(3, generator=dice).tolist()
        low, high = self.config.size
        field_A = field_of(stack.diameter_A) / (low * (high / low) ** scale)
        treatments = stack.treatments
        treatment = treatments[int(torch.randint(len(treatments), (), generator=dice))]
        error_A = 0.002 * 10**nearness * field_A * torch.randn(views, 2, generator=dice)
        known_A = stack.poses.shifts_A[rows] + error_A if recentred < self.config.recentred else None
        return cut_set(stack, Cut(rows, field_A, treatment, known_A), self.box)


def _some(stack: PosedStack, views: int, dice: torch.Generator) -> Int[Tensor, " n"]:
    if len(stack.poses) < views:
        raise InputError(
            "a stack has fewer particles than a set has views",
            expected=f"at least {views}",
            found=len(stack.poses),
            remedy="Leave it out, or hold out less of it",
        )
    return torch.randperm(len(stack.poses), generator=dice)[:views]


@torch.no_grad()
def score_stack(network: PoseNetwork, stack: PosedStack, seed: int = 0, sets: int = 32) -> dict[str, float]:
    """Return median errors of poses in random sets, centred by correlation and with the better hand of each set.

    ``fnorm_median`` and ``median_deg`` are those of rotations relative to the set's first view, ``shift_A`` is a mean.
    """
    dice = torch.Generator().manual_seed(seed)
    field_A, views = field_of(stack.diameter_A), min(_TRIAL_VIEWS, len(stack.poses))
    errors, shifts = [], []
    for _ in range(sets):
        cut = Cut(_some(stack, views, dice), field_A, best_treatment(stack.particles))
        found = score_sets(network, *cut_set(stack, cut, network.config.box))
        errors.append(found[0])
        shifts.append(found[1])
    fnorms = torch.cat(errors).flatten()
    degrees = torch.rad2deg(2 * torch.asin((fnorms / 8**0.5).clamp(max=1.0)))
    return {
        "fnorm_median": float(fnorms.median()),
        "median_deg": float(degrees.median()),
        "shift_A": float(torch.cat(shifts).mean()) * field_A,
    }
