"""Structures to pre-train on, drawn on the fly: blob assemblies, a corpus, pieces of it put together."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.views import FIELD_PER_DIAMETER
from vitreous.typing import Float, Int

_BLOBS = 6
_MAX_PARTS = 3


@dataclass(frozen=True)
class Scenes:
    """Structures as weighted points.

    Attributes
    ----------
    beads
        ``[b, k, 3]`` in units of the field, centred on their mass.
    weights
        ``[b, k]``.
    diameter_A
        ``[b]``; the field is ``FIELD_PER_DIAMETER`` times as wide.
    """

    beads: Float[Tensor, "b k 3"]
    weights: Float[Tensor, "b k"]
    diameter_A: Float[Tensor, " b"]


@runtime_checkable
class SceneSource(Protocol):
    """Draws structures."""

    def draw(self, n: int, beads: int, generator: torch.Generator) -> Scenes:
        """Draw ``n`` structures of ``beads`` points each."""
        ...


def normalised(points_A: Float[Tensor, "b k 3"], weights: Float[Tensor, "b k"]) -> Scenes:
    """Centre structures on their mass and scale them to the field by their largest radius.

    Points without weight fill up short structures; they go to the centre.
    """
    centre = (weights[..., None] * points_A).sum(1) / weights.sum(1)[:, None]
    centred = torch.where(weights[..., None] > 0, points_A - centre[:, None], 0.0)
    diameter_A = 2 * centred.norm(dim=-1).amax(1)
    return Scenes(centred / (FIELD_PER_DIAMETER * diameter_A)[:, None, None], weights, diameter_A)


class Blobs:
    """Random assemblies of Gaussian clouds: cheap, endless and asymmetric."""

    def draw(self, n: int, beads: int, generator: torch.Generator) -> Scenes:
        """Draw assemblies of six clouds with log-uniform diameters of 90 to 450 Å."""
        device = generator.device
        centres = 0.28 * torch.randn(n, _BLOBS, 3, generator=generator, device=device)
        sizes = 0.05 + 0.12 * torch.rand(n, _BLOBS, 1, generator=generator, device=device)
        which = torch.randint(0, _BLOBS, (n, beads), generator=generator, device=device)[..., None]
        cloud = torch.randn(n, beads, 3, generator=generator, device=device)
        points = centres.gather(1, which.expand(-1, -1, 3)) + cloud * sizes.gather(1, which)
        scenes = normalised(points, 0.5 + torch.rand(n, beads, generator=generator, device=device))
        diameter_A = 90 * 5 ** torch.rand(n, generator=generator, device=device)
        return Scenes(scenes.beads, scenes.weights, diameter_A)


@dataclass(frozen=True)
class CorpusScenes:
    """Structures of a corpus, whole or as one to three pieces in contact.

    Attributes
    ----------
    points_A, masses
        All residues ``[r, 3]``, ``[r]``, structure after structure.
    starts
        ``[s + 1]``, first residue of each structure.
    whole
        Structures that may be drawn whole: asymmetric ones, because the poses of a symmetric one are ambiguous.
    composite
        Share of scenes that are put together from pieces: contiguous stretches of one to three structures.
    """

    points_A: Float[Tensor, "r 3"]
    masses: Float[Tensor, " r"]
    starts: Int[Tensor, " s_plus_1"]
    whole: Int[Tensor, " w"]
    composite: float = 0.6

    def on(self, device: torch.device | str, composite: float) -> "CorpusScenes":
        """Return the same corpus on a device, with another share of composites."""
        return CorpusScenes(**{n: _moved(getattr(self, n), str(device)) for n in _ARRAYS}, composite=composite)

    def draw(self, n: int, beads: int, generator: torch.Generator) -> Scenes:
        """Draw structures, slightly stretched along a random direction each."""
        first, length, parts = self._pieces(n, generator)
        part, index = self._residues(first, length, parts, beads, generator)
        points = self.points_A[index]
        weights = self.masses[index] * length.gather(1, part) / F.one_hot(part, _MAX_PARTS).sum(1).gather(1, part)
        points = _assembled(points, part, generator)
        return normalised(_stretched(points, generator), weights)

    def _pieces(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return first residue and length of every piece ``[n, 3]``, and the number of pieces ``[n]``."""
        device = generator.device
        whole = torch.rand(n, generator=generator, device=device) >= self.composite
        chosen = torch.randint(0, len(self.starts) - 1, (n, _MAX_PARTS), generator=generator, device=device)
        entire = self.whole[torch.randint(0, len(self.whole), (n,), generator=generator, device=device)]
        chosen[:, 0] = torch.where(whole, entire, chosen[:, 0])
        start, size = self.starts[chosen], self.starts[chosen + 1] - self.starts[chosen]
        share = 0.25 + 0.75 * torch.rand(n, _MAX_PARTS, generator=generator, device=device)
        length = torch.minimum(size, (share * size).long().clamp_min(100))
        length[:, 0] = torch.where(whole, size[:, 0], length[:, 0])
        slack = (size - length + 1) * torch.rand(n, _MAX_PARTS, generator=generator, device=device)
        first = start + slack.long().clamp_max(size - length)
        parts = torch.randint(1, _MAX_PARTS + 1, (n,), generator=generator, device=device)
        return first, length, torch.where(whole, 1, parts)

    def _residues(
        self, first: Tensor, length: Tensor, parts: Tensor, beads: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Spread the points of each scene evenly along its pieces; return piece and residue of each ``[n, k]``."""
        n = len(first)
        bead = torch.arange(beads, device=first.device).expand(n, -1)
        part = bead * parts[:, None] // beads
        opening = (part * beads + parts[:, None] - 1) // parts[:, None]
        closing = ((part + 1) * beads + parts[:, None] - 1) // parts[:, None]
        jitter = torch.rand(n, beads, generator=generator, device=first.device)
        along = (bead - opening + jitter) / (closing - opening)
        offset = (along * length.gather(1, part)).long()
        return part, first.gather(1, part) + torch.minimum(offset, length.gather(1, part) - 1)


_ARRAYS = ("points_A", "masses", "starts", "whole")
_COPIES: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
"""Original and copy; the original is kept, because the identity of what is gone is given out again."""


def _moved(tensor: Tensor, device: str) -> Tensor:
    """Copy to a device once; the corpus is too large to be copied at every step."""
    if tensor.device == torch.device(device):
        return tensor
    key = (id(tensor), device)
    if key not in _COPIES:
        _COPIES[key] = (tensor, tensor.to(device))
    return _COPIES[key][1]


def _assembled(points: Tensor, part: Tensor, generator: torch.Generator) -> Tensor:
    """Turn every piece at random and put the second and third against the first."""
    n = len(points)
    member = F.one_hot(part, _MAX_PARTS).to(points)  # [n, k, 3 pieces]
    count = member.sum(1).clamp_min(1)
    centres = (member.mT @ points) / count[..., None]
    local = points - member @ centres
    spread = ((member.mT @ local.square().sum(-1, keepdim=True)) / count[..., None]).sqrt()[..., 0]
    turns = random_rotations(n * _MAX_PARTS, generator).unflatten(0, (n, _MAX_PARTS))
    turned = torch.einsum("nkp,npij,nkj->nki", member, turns, local)
    direction = F.normalize(torch.randn(n, _MAX_PARTS, 3, generator=generator, device=points.device), dim=-1)
    reach = 0.8 + 0.6 * torch.rand(n, _MAX_PARTS, generator=generator, device=points.device)
    places = direction * (reach * (spread + spread[:, :1]))[..., None]
    places[:, 0] = 0
    return turned + member @ places


def _stretched(points: Tensor, generator: torch.Generator) -> Tensor:
    """Scale along the axes by log-normal factors (the pieces have random orientations already)."""
    factors = torch.exp(0.12 * torch.randn(len(points), 1, 3, generator=generator, device=points.device))
    return points * factors


@dataclass(frozen=True)
class Mixed:
    """Two sources, the first with probability ``share``."""

    first: SceneSource
    second: SceneSource
    share: float

    def draw(self, n: int, beads: int, generator: torch.Generator) -> Scenes:
        """Draw from both; the number from each is as even as n allows."""
        dice = torch.rand((), generator=generator, device=generator.device)
        m = int(n * self.share + float(dice))
        drawn = [
            source.draw(count, beads, generator) for source, count in ((self.first, m), (self.second, n - m)) if count
        ]
        return Scenes(*(torch.cat([getattr(d, name) for d in drawn]) for name in ("beads", "weights", "diameter_A")))
