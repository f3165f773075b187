"""Per-image FSC of a heterogeneous reconstruction: the map decoded for an image against that image's true map."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.evaluate.maps import compare_maps
from vitreous.typing import Float, Int


@dataclass(frozen=True)
class PerImageFsc:
    """FSC curves of single images and the areas under them.

    Attributes
    ----------
    frequency_per_A
        Frequency of each shell.
    curves
        One FSC per image, ``[n, shells]``.
    areas
        Area under each curve over frequency in 1/voxel, ``[n]``; at most 0.5
        (:func:`vitreous.evaluate.maps.fsc_area`).
    """

    frequency_per_A: Float[Tensor, " shells"]
    curves: Float[Tensor, "n shells"]
    areas: Float[Tensor, " n"]

    def summary(self) -> dict[str, Any]:
        """Return mean, standard deviation and median of the areas."""
        return {
            "images": len(self.areas),
            "fsc_auc_mean": float(self.areas.mean()),
            "fsc_auc_std": float(self.areas.std(correction=0)),
            "fsc_auc_median": float(self.areas.median()),
        }


def per_image_fsc(pairs: Iterable[tuple[Volume, Volume]], mask: Volume | None = None) -> PerImageFsc:
    """Compare decoded with true maps, image by image, without alignment (CryoBench; CryoNOO, appendix F).

    Parameters
    ----------
    pairs
        ``(decoded, truth)`` per image, made one at a time, so that only one pair is in memory.
    mask
        Soft mask applied to both.

    Raises
    ------
    InputError
        If there is no pair, or the maps differ in box or voxel size.
    """
    comparisons = [compare_maps(decoded, truth, mask, align=False) for decoded, truth in pairs]
    if not comparisons:
        raise InputError("there is no image to compare", remedy="Give at least one decoded map and its truth")
    return PerImageFsc(
        frequency_per_A=comparisons[0].frequency_per_A,
        curves=torch.stack([c.fsc for c in comparisons]),
        areas=torch.tensor([c.area for c in comparisons], dtype=torch.float64),
    )


def one_image_per_state(states: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " states"]:
    """Draw one image of every true state, in the order of the states (CryoBench's sample)."""
    order = torch.randperm(len(states), generator=generator)
    sorted_states, position = torch.sort(states[order], stable=True)
    first = torch.ones_like(sorted_states, dtype=torch.bool)
    first[1:] = sorted_states[1:] != sorted_states[:-1]
    return order[position[first]]
