"""Doubtful particles are searched over all orientations again, against maps that are better than the first."""

from dataclasses import dataclass, replace

import torch

from vitreous.compute.processes import current_share, pieces
from vitreous.compute.progress import Progress
from vitreous.methods.search.global_search import GridSearch
from vitreous.methods.search.junk import gain_deviates
from vitreous.methods.search.refinement import Refinement, RefinementState, images_at_a_time
from vitreous.reconstruct.estep import EStep
from vitreous.reconstruct.gauss_newton import refine_poses
from vitreous.reconstruct.target import Target
from vitreous.typing import Bool, Float, Tensor

AFTER_ROUNDS = (3, 5, 7)
"""Rounds before a further look: enough for the maps to have grown beyond the search radius, and better since."""

DOUBTFUL_EFFECTIVE_POSES = 1.5
"""Particles that more poses than this could explain in the first search are looked at again."""

UNLIKELY_DEVIATE = 2.0
"""Particles whose gain lies so many standard deviations below what their pose should gain are looked at again, too."""

SURE_LEAD = 7.0
"""Nats by which a pose has to be ahead of all others to be doubtful no more."""

STEPS = 6


@dataclass(frozen=True)
class SecondLook:
    """Search of some particles against the half-maps of a refinement, kept where it explains them better.

    Attributes
    ----------
    refinement
        The rounds it belongs to.
    radius, shift_share
        Resolution of the search in Fourier pixels, and the largest shift as a share of the box.
    progress
        Where to report.
    estep
        How scores are computed.
    """

    refinement: Refinement
    radius: float
    shift_share: float
    progress: Progress
    estep: EStep = "auto"

    def __call__(self, state: RefinementState) -> RefinementState:
        """Look again at what was doubtful or is unlikely."""
        return self.at(state, state.doubtful | self._unlikely(state))

    def at(self, state: RefinementState, chosen: Bool[Tensor, " n"]) -> RefinementState:
        """Replace poses by those of a fresh search that have a lower cost inside the radius of the rounds."""
        rotations, shifts = state.rotations.clone(), state.shifts_px.clone()
        store, share, doubtful = self.refinement.store, current_share(), chosen.clone()
        for members, reference in zip(self.refinement.members, state.references, strict=True):
            rows = members[chosen[members]]
            if len(rows) == 0:
                continue
            part = store.subset(rows, state.radius, self.progress)
            reach = (self.radius, self.shift_share)
            search = GridSearch(part, reference, state.noise, *reach, fine_radius=state.radius, estep=self.estep)
            fresh = search.run(self.progress)
            target = Target.of(reference, store.disc, state.noise, state.radius)
            turned, moved = torch.zeros(len(rows), 3, 3), torch.zeros(len(rows), 2)
            for block in share.mine(pieces(torch.arange(len(rows)), images_at_a_time(target.count))):
                mine, images = rows[block], part.device_batch(block, target.count)
                old = refine_poses(target, images, rotations[mine], shifts[mine], steps=STEPS)
                new = refine_poses(target, images, fresh.rotations[block], fresh.shifts_px[block], steps=STEPS)
                better = new.costs < old.costs
                turned[block] = torch.where(better[:, None, None], new.rotations, old.rotations)
                moved[block] = torch.where(better[:, None], new.shifts_px, old.shifts_px)
            share.sum_(turned, moved)
            rotations[rows], shifts[rows], doubtful[rows] = turned, moved, fresh.lead < SURE_LEAD
        return replace(state, rotations=rotations, shifts_px=shifts, doubtful=doubtful)

    def _unlikely(self, state: RefinementState) -> Bool[Tensor, " n"]:
        """Which particles gain much less at their pose than a projection of the map would."""
        deviates, _ = gain_deviates(self.refinement.store, state, self.refinement.half_sets)
        return deviates < deviates.median() - UNLIKELY_DEVIATE


def is_doubtful(effective_poses: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which particles' poses the first search could not tell from others."""
    return effective_poses > DOUBTFUL_EFFECTIVE_POSES
