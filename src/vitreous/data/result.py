"""The only output of every method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vitreous.data.poses import Poses
from vitreous.data.volume import Volume
from vitreous.typing import Float, Int


@dataclass(frozen=True)
class ResolutionCurves:
    """Fourier shell correlation of two half-maps, reported in all its forms.

    Attributes
    ----------
    frequency_per_A
        Frequency of each shell in 1/Å, shell 0 first.
    unmasked, masked, randomised, corrected
        FSC without a mask, with one, with it after phase randomisation, and corrected for the mask's own
        correlation (Chen et al. 2013). The last three are None where there is no mask.
    randomised_from_per_A
        Frequency from which phases were randomised.
    """

    frequency_per_A: Float[Tensor, " shells"]
    unmasked: Float[Tensor, " shells"]
    masked: Float[Tensor, " shells"] | None = None
    randomised: Float[Tensor, " shells"] | None = None
    corrected: Float[Tensor, " shells"] | None = None
    randomised_from_per_A: float | None = None

    @property
    def final(self) -> Float[Tensor, " shells"]:
        """The curve that the resolution is read from: corrected where there is one."""
        return self.unmasked if self.corrected is None else self.corrected


@dataclass(frozen=True)
class ConicalCurves:
    """Fourier shell correlation of two half-maps in cones of Fourier space.

    Attributes
    ----------
    frequency_per_A
        Frequency of each shell in 1/Å, shell 0 first.
    directions
        Axes of the cones: unit vectors ``[cones, 3]``, ``(x, y, z)`` in the map's frame, over a hemisphere.
    fsc
        One curve per cone, ``[cones, shells]``.
    resolution_A
        Resolution at 0.143 of each curve.
    sampling
        Slices through each axis relative to uniform views.
    """

    frequency_per_A: Float[Tensor, " shells"]
    directions: Float[Tensor, "cones 3"]
    fsc: Float[Tensor, "cones shells"]
    resolution_A: Float[Tensor, " cones"]
    sampling: Float[Tensor, " cones"]


@dataclass(frozen=True)
class LatentVolume:
    """A map decoded at a point of the latent space.

    Attributes
    ----------
    name
        File name without suffix.
    z
        The point.
    volume
        The map.
    """

    name: str
    z: Float[Tensor, " dim"]
    volume: Volume


@dataclass(frozen=True)
class Result:
    """What a method found out.

    Attributes
    ----------
    volume, half_maps, mask
        The map (sharpened or filtered as the method says), the two raw half-maps, the mask.
    poses
        One pose per input particle, in the input's order.
    half_sets
        1 or 2 per particle.
    latents, classes, class_volumes
        Coordinates ``[n, dim]``, class numbers from 1, one map per class.
    latent_std, latent_volumes
        Standard deviations of the coordinates, and maps along them.
    symmetry
        Point group imposed on the map; None where the method knows none.
    scores
        Numbers per particle by name (``log_likelihood``, ``effective_poses`` …), each ``[n]``.
    curves, resolution_A
        FSC of the half-maps and the resolution read from it.
    cones
        The same by direction.
    verdict
        ``"solved"``, ``"ambiguous"``, ``"failed"`` or ``"done"`` where there is nothing to judge.
    warnings
        In plain words, for the user.
    metrics
        Other numbers for ``summary.json``.
    maps
        Other maps by file name without suffix, at most one folder deep.
    state
        Tensors from which the method can go on or embed new particles.
    """

    volume: Volume | None = None
    half_maps: tuple[Volume, Volume] | None = None
    mask: Volume | None = None
    poses: Poses | None = None
    half_sets: Int[Tensor, " n"] | None = None
    latents: Float[Tensor, "n dim"] | None = None
    classes: Int[Tensor, " n"] | None = None
    class_volumes: Sequence[Volume] = ()
    latent_std: Float[Tensor, "n dim"] | None = None
    latent_volumes: Sequence[LatentVolume] = ()
    symmetry: str | None = None
    scores: Mapping[str, Float[Tensor, " n"]] = field(default_factory=dict)
    curves: ResolutionCurves | None = None
    resolution_A: float | None = None
    cones: ConicalCurves | None = None
    verdict: str = "done"
    warnings: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
