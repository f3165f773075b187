"""Poses of all particles in the frames of a few references."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.compute.device import fastest_autocast
from vitreous.compute.progress import Progress
from vitreous.methods.fastar.model import Frame, PoseNetwork, joined
from vitreous.methods.fastar.ray_map import Gathered, RoughPoses
from vitreous.methods.fastar.views import Views
from vitreous.typing import Float, Int

SET = 128
"""Views that define a frame, and views whose spectrum is measured together; the paper's number at inference."""


@dataclass(frozen=True)
class Placed:
    """Poses of n particles in the frames of m references.

    Attributes
    ----------
    rotations
        ``[m, n, 3, 3]``, R up to one rotation and hand per reference.
    shifts
        ``[m, n, 2]`` in units of the field, relative to the centres of the views.
    confidences
        Mean confidence of each view ``[m, n]``, above 1.
    """

    rotations: Float[Tensor, "m n 3 3"]
    shifts: Float[Tensor, "m n 2"]
    confidences: Float[Tensor, "m n"]

    def frames(self, chosen: Int[Tensor, " k"]) -> "Placed":
        """Return some of the frames."""
        return Placed(self.rotations[chosen], self.shifts[chosen], self.confidences[chosen])


class Placement:
    """One set of particles before a network.

    Parameters
    ----------
    network
        The pose network.
    views
        All particles as one set ``[1, n, …]``.
    """

    def __init__(self, network: PoseNetwork, views: Views) -> None:
        self.network, self.views = network.eval(), views
        self.device = next(network.parameters()).device

    def __len__(self) -> int:
        return self.views.images.shape[1]

    @torch.no_grad()
    def rank_references(
        self, candidates: int, views: int, generator: torch.Generator, progress: Progress
    ) -> Int[Tensor, " c"]:
        """Order random candidate references by the mean confidence of some views in their frame, best first."""
        chosen = torch.randperm(len(self), generator=generator)[:candidates]
        scores = []
        with progress.stage("Ranking references", total=len(chosen)):
            for reference in chosen.tolist():
                with self._precision():
                    last = self.network(self._set(self._frame_views(reference, views, generator)))[-1]
                scores.append(_surplus(last.confidences[0, 1:]).log().mean())
                progress.advance()
        return chosen[torch.stack(scores).argsort(descending=True).cpu()]

    @torch.no_grad()
    def place(
        self, references: Int[Tensor, " m"], generator: torch.Generator, progress: Progress, known: Placed | None = None
    ) -> Placed:
        """Predict all particles in the frames of some references.

        Every frame is made once from its reference and 127 random views; then each particle is placed in it on its
        own, so that all of them agree on frame and hand.

        Parameters
        ----------
        references
            Numbers of particles.
        generator
            Chooses the other views.
        progress
            Told how far it is.
        known
            Poses that were found in the frames of the same references, the views since centred on them: the map of
            each frame is then that of all particles, not of 128 views.
        """
        with self._precision():
            frames = [
                self.network.frame(self.network.encode(self._set(self._frame_views(r, SET, generator))))
                for r in references.tolist()
            ]
        frame = joined(frames)
        if known is not None and frame.maps:
            frame = replace(frame, maps=self._maps_of_all(known))
        found = []
        with progress.stage("Predicting poses", total=len(self)):
            for rows in torch.split(torch.arange(len(self)), SET):
                found.append(self._place_rows(frame, self._filled(rows), len(rows)))
                progress.advance(len(rows))
        return Placed(*(torch.cat(column, 1).cpu() for column in zip(*found)))

    def _place_rows(self, frame: Frame, rows: Tensor, kept: int) -> tuple[Tensor, Tensor, Tensor]:
        with self._precision():
            tokens = self.network.encode(self._set(rows)).views(slice(kept))
            prediction = self.network.place_in(frame, tokens.expand(len(frame.states[0])))
        relative, shifts = prediction.poses(self.network.coordinates)
        return relative.mT, shifts, 1 + _surplus(prediction.confidences).log().mean(-1).exp()

    def _maps_of_all(self, known: Placed) -> list[Gathered]:
        """Gather the rays of all particles in every frame; a particle's own share is one of thousands."""
        totals: list[Gathered] = []
        for rows in torch.split(torch.arange(len(self)), SET):
            n = len(rows)
            rotations, confidences = (x[:, rows].to(self.device) for x in (known.rotations, known.confidences))
            poses = RoughPoses(
                rotations.mT,
                torch.zeros_like(rotations[..., 0, :2]),
                1 - confidences.clamp_min(1.0 + 1e-6).reciprocal(),
            )
            with self._precision():
                rays = self.network.rays(self._set(self._filled(rows))).views(slice(n)).expand(len(rotations))
                found = [gathered.float() for gathered in self.network.gather(rays, poses)]
            totals = [a + b for a, b in zip(totals, found)] if totals else found
        return totals

    def _frame_views(self, reference: int, views: int, generator: torch.Generator) -> Int[Tensor, " s"]:
        """Return the reference and other random particles."""
        others = torch.randperm(len(self), generator=generator)[:views]
        return torch.cat([torch.tensor([reference]), others[others != reference][: views - 1]])

    def _filled(self, rows: Int[Tensor, " r"]) -> Int[Tensor, " s"]:
        """Fill a short last set up with other particles, so that its spectrum is as well known as the others'."""
        missing = min(SET, len(self)) - len(rows)
        return torch.cat([rows, torch.arange(missing)]) if missing else rows

    def _set(self, rows: Int[Tensor, " s"]) -> Views:
        v = self.views
        return Views(v.images[:, rows].float(), v.ctf_size[:, rows], v.treatment).to(self.device)

    def _precision(self) -> AbstractContextManager[object]:
        return fastest_autocast(self.device)


def _surplus(confidences: Tensor) -> Tensor:
    """Return what a confidence has above 1; its logarithm ranks views even where none is trusted."""
    return (confidences - 1).clamp_min(1e-7)
