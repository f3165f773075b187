"""E-step: the posterior over a grid of rotations and shifts, by matrix products or by rings.

``ln p(Y | R, t) = 2·Re⟨Y·C·e^{+iks·t}, P_R⟩ − ⟨C², |P_R|²⟩`` up to a constant, both divided by the noise power.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc
from vitreous.fourier.resize import resize_map
from vitreous.physics.shifts import disc_phases
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.backprojection import working_box
from vitreous.reconstruct.estep import EStep, images_per_chunk, scratch
from vitreous.reconstruct.rings import PoseGrid, RingReferences
from vitreous.typing import Complex, Float, Int, Map


@dataclass(frozen=True)
class References:
    """Slices of a map on a pose grid.

    Attributes
    ----------
    rotations, shifts_px
        The grid: every rotation with every shift.
    slices
        ``[r, 2k]``, real and imaginary parts interleaved.
    power
        ``|P|²``, ``[r, k]``.
    phases
        ``exp(+2πi k·t / n)``, ``[t, k]``: moves an image's particle from t to the centre.
    """

    rotations: Float[Tensor, "r 3 3"]
    shifts_px: Float[Tensor, "t 2"]
    slices: Float[Tensor, "r k2"]
    power: Float[Tensor, "r k"]
    phases: Complex[Tensor, "t k"]

    @staticmethod
    def of(
        volume: FourierVolume,
        rotations: Float[Tensor, "r 3 3"],
        shifts_px: Float[Tensor, "t 2"],
        disc: Disc,
        count: int,
    ) -> "References":
        """Slice a map at every rotation, inside the first ``count`` coefficients of a disc."""
        slices = volume.sample(rotations, disc.kx[:count].contiguous(), disc.ky[:count].contiguous())
        parts = torch.view_as_real(slices)
        power = parts.square().sum(-1)
        return References(rotations, shifts_px, parts.flatten(1), power, disc_phases(-shifts_px, disc, count))

    @staticmethod
    def joined(parts: "Sequence[References]") -> "References":
        """One set of the slices of several maps at the same shifts: class after class."""
        if len(parts) == 1:
            return parts[0]
        rows = (torch.cat([getattr(part, name) for part in parts]) for name in ("rotations", "slices", "power"))
        rotations, slices, power = rows
        return References(rotations, parts[0].shifts_px, slices, power, parts[0].phases)

    @property
    def size(self) -> int:
        """Number of poses on the grid."""
        return len(self.rotations) * len(self.shifts_px)

    def images_per_chunk(self) -> int:
        """How many images are scored at a time."""
        return images_per_chunk(self.size, self.power.device)

    def cross(self, copies: Float[Tensor, "mt k2"], out: Float[Tensor, "mt r"]) -> None:
        """Write ``Re⟨copy, P⟩`` of every copy and rotation."""
        torch.mm(copies, self.slices.T, out=out)

    def norms(self, c2: Float[Tensor, "m k"]) -> Float[Tensor, "m r"]:
        """``⟨C², |P|²⟩`` of every image and rotation."""
        return c2 @ self.power.T

    def slices_at(self, index: Int[Tensor, " m"]) -> Complex[Tensor, "m k"]:
        """Slices at some of the rotations."""
        return torch.view_as_complex(self.slices[index].view(len(index), -1, 2))


RING_PADDING = 4
"""Of transforms that rings are sampled from; with 2, scores were off by several times as much as those of products."""

AnyReferences = References | RingReferences
"""Slices on a pose grid; both score images in the same order of poses."""


def references_of(path: EStep, maps: Sequence[Map], grid: PoseGrid, disc: Disc, count: int) -> AnyReferences:
    """Slices of one or several maps (of the field of the images, in boxes of any size), for products or rings.

    ``auto`` takes rings on the CPU, where they were faster at every size that was measured (docs/methods/search.md),
    and products on a GPU, where neither was measured. The slices are on the device of the grid.
    """
    maps = [values.to(grid.rotations.device) for values in maps]
    if path == "rings" or (path == "auto" and grid.rotations.device.type == "cpu" and grid.inplane % 2 == 0):
        volumes = [_ring_volume(values, float(disc.radius[count - 1])) for values in maps]
        return RingReferences.joined([RingReferences.of(volume, grid, disc, count) for volume in volumes])
    volumes = [FourierVolume.from_map(values) for values in maps]
    return References.joined([References.of(volume, grid.rotations, grid.shifts_px, disc, count) for volume in volumes])


def centred_copies(yc: Complex[Tensor, "m k"], phases: Complex[Tensor, "t k"]) -> Float[Tensor, "mt k2"]:
    """Every image moved by every shift, real and imaginary parts interleaved, ``[m·t, 2k]``."""
    return torch.view_as_real(yc[:, None] * phases).flatten(2).flatten(0, 1)


def _ring_volume(values: Map, radius: float) -> FourierVolume:
    """Transform of a map, cut to what its rings need and padded more: harmonics magnify the errors of slices."""
    box = min(values.shape[-1], working_box(radius))
    return FourierVolume.from_map(resize_map(values, box), RING_PADDING)


def cross_terms(copies: Float[Tensor, "mt k2"], images: int, references: AnyReferences) -> Float[Tensor, "m t r"]:
    """``Re⟨Y·C·phase, P⟩`` of every image, shift and rotation: what all time should go to.

    The result lives in memory of the calling thread that the next call overwrites.
    """
    rotations = len(references.rotations)
    out = scratch("cross", len(copies) * rotations, copies).view(len(copies), rotations)
    references.cross(copies, out)
    return out.view(images, -1, rotations)


def score(
    copies: Float[Tensor, "mt k2"], c2: Float[Tensor, "m k"], references: AnyReferences
) -> Float[Tensor, "m t r"]:
    """Log-likelihood of every pose, up to a constant per image; both inputs already divided by the noise power."""
    return cross_terms(copies, len(c2), references).mul(2).sub_(references.norms(c2)[:, None])


@dataclass(frozen=True)
class Posterior:
    """Normalised weights over the pose grid of some images.

    Attributes
    ----------
    weights
        ``[m, t, r]``, summing to 1 for each image.
    best
        Index into the flattened ``t × r`` grid.
    effective_poses
        ``(Σw)² / Σw²``: how many poses share the weight.
    log_evidence
        Log of the likelihood summed over the grid's poses (up to a constant per image).
    """

    weights: Float[Tensor, "m t r"]
    best: Int[Tensor, " m"]
    effective_poses: Float[Tensor, " m"]
    log_evidence: Float[Tensor, " m"]


def posterior(scores: Float[Tensor, "m t r"], sharpness: float = 1.0) -> Posterior:
    """Softmax of ``sharpness · scores`` over poses. ``scores`` is overwritten: it is the largest array there is."""
    flat = scores.flatten(1)
    peak, best = flat.max(1, keepdim=True)
    flat.sub_(peak).mul_(sharpness).exp_()
    total = flat.sum(1, keepdim=True)
    effective = total[:, 0] ** 2 / torch.linalg.vector_norm(flat, dim=1) ** 2
    evidence = sharpness * peak[:, 0] + total[:, 0].log()
    flat.div_(total)
    return Posterior(scores, best[:, 0], effective, evidence)


def sharpness_for(scores: Float[Tensor, "m t r"], effective_poses: float) -> float:
    """Exponent at which the median effective number of poses is ``effective_poses`` (bisection, at most 10)."""
    flat = scores.flatten(1)
    flat = flat - flat.amax(1, keepdim=True)
    low, high = -3.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        w = (flat * 10**middle).exp_()
        effective = float((w.sum(1) ** 2 / w.square().sum(1)).median())
        low, high = (low, middle) if effective < effective_poses else (middle, high)
    return min(10**high, 10.0)
