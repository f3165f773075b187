"""Comparison of a map with a truth or with another map."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitreous.constants import FSC_GOLD_STANDARD, FSC_TO_TRUTH
from vitreous.data import Volume
from vitreous.fourier.shells import fsc, resolution_A
from vitreous.reconstruct.align_maps import MapAlignment, align_maps, check_same_grid
from vitreous.typing import Float


@dataclass(frozen=True)
class MapComparison:
    """Agreement of two maps.

    Attributes
    ----------
    frequency_per_A, fsc
        The curve, shells ``0 … n // 2``.
    resolution_05_A, resolution_0143_A
        First crossings of 0.5 (the threshold against a truth) and of 0.143.
    mean_fsc
        Mean over shells ``1 … n // 2``.
    area
        Area under the curve over frequency in 1/voxel (:func:`fsc_area`), at most 0.5.
    alignment
        How the estimate was moved, with its rotation, translation, hand and moved map; None where it was not.
    """

    frequency_per_A: Float[Tensor, " shells"]
    fsc: Float[Tensor, " shells"]
    resolution_05_A: float
    resolution_0143_A: float
    mean_fsc: float
    area: float
    alignment: MapAlignment | None

    def summary(self) -> dict[str, Any]:
        """Return the figures without the arrays, ready for JSON."""
        kept = ("resolution_05_A", "resolution_0143_A", "mean_fsc", "area")
        figures = {name: getattr(self, name) for name in kept}
        if self.alignment is None:
            return figures
        moved = {name: getattr(self.alignment, name).tolist() for name in ("rotation", "translation_A")}
        scores = {"score": self.alignment.score, "other_hand_score": self.alignment.other_hand_score}
        return {**figures, "hand": "mirrored" if self.alignment.mirrored else "same", **moved, **scores}


def compare_maps(estimate: Volume, truth: Volume, mask: Volume | None = None, *, align: bool = True) -> MapComparison:
    """Compare a map with the truth by Fourier shell correlation.

    Parameters
    ----------
    estimate, truth
        Maps of the same box and voxel size.
    mask
        Soft mask in the truth's frame; both maps are multiplied by it after alignment. The correlation of the mask
        itself is not removed: use phase-randomised curves for half-maps.
    align
        Bring the estimate onto the truth over rotation, shift and hand first.

    Raises
    ------
    InputError
        If the maps or the mask differ in box or voxel size, or a map to align is constant or holds NaN.
    """
    check_same_grid(estimate, truth)
    alignment = align_maps(estimate, truth) if align else None
    first, second = (estimate if alignment is None else alignment.volume).values, truth.values
    if mask is not None:
        check_same_grid(mask, truth)
        first, second = first * mask.values, second * mask.values
    curve = fsc(first, second)
    shells = torch.arange(len(curve), dtype=torch.float64)
    return MapComparison(
        frequency_per_A=shells / (truth.box * truth.voxel_size_A),
        fsc=curve,
        resolution_05_A=resolution_A(curve, FSC_TO_TRUTH, truth.box, truth.voxel_size_A),
        resolution_0143_A=resolution_A(curve, FSC_GOLD_STANDARD, truth.box, truth.voxel_size_A),
        mean_fsc=float(curve[1:].mean()),
        area=fsc_area(curve),
        alignment=alignment,
    )


def fsc_area(curve: Float[Tensor, " shells"]) -> float:
    """Area under an FSC curve over frequency from 0 to Nyquist in 1/voxel: 0.5 for equal maps, for odd and even boxes.

    Trapezoids; the correlation at zero frequency is taken as 1, as in the per-image FSC of CryoBench (Jeon et al.
    2024), because the mean density has no bearing on the structure.
    """
    heights = curve.double().clone()
    heights[0] = 1.0
    return float(torch.trapezoid(heights)) * 0.5 / (len(heights) - 1)
