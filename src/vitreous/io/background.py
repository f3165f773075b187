"""Background normalisation: every image on the scale of its own noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.typing import Bool, Float, Images

_SMALLEST_SIGMA = 1e-6
"""Share of the mean below which float32 images hold nothing but rounding."""

_SQUARES_FIT = (1e-15, 1e15)
"""Between these the squares of float32 pixels neither vanish nor overflow."""


@dataclass(frozen=True)
class Background:
    """The pixels outside a circle about the box centre, and the σ that they are given.

    Attributes
    ----------
    weights
        ``[box · box]``, equal on the background, 0 inside the circle, of sum 1.
    sigma
        Standard deviation of the background after normalisation.
    """

    weights: Float[Tensor, " pixels"]
    sigma: float = 1.0

    @staticmethod
    def outside(box: int, radius_px: float, sigma: float = 1.0) -> "Background":
        """Take the pixels farther than ``radius_px`` from pixel ``box // 2``.

        Raises
        ------
        ConfigError
            Where no pixel is left, or the radius is not positive.
        """
        offset = torch.arange(box, dtype=torch.float32) - box // 2
        outside = (torch.hypot(offset[:, None], offset) > radius_px).to(torch.float32).reshape(-1)
        if not radius_px > 0 or outside.sum() < 1:
            raise ConfigError(
                "the background circle does not fit into the box",
                expected=f"a radius between 0 and {box // 2} px",
                found=f"{radius_px:g} px",
                remedy="Choose a smaller --background-radius",
            )
        return Background(outside / outside.sum(), sigma)

    def normalise_(self, images: Images) -> Bool[Tensor, " n"]:
        """Bring images in place to background mean 0 and the wanted σ; tell which could not be (NaN, constant).

        Images that could not be normalised are left with unspecified values.
        """
        flat = images.view(len(images), -1)
        mean = flat @ self.weights
        flat -= mean[:, None]
        # Large offsets leave a rounding error in the first mean; what is left of it is taken out with the scale.
        rest = flat @ self.weights
        sigma = self._sigma(flat, rest)
        extreme = ~((sigma > _SQUARES_FIT[0]) & (sigma < _SQUARES_FIT[1]))
        if extreme.any():
            peak = flat[extreme].abs().amax(dim=1)
            peak = torch.where((peak > 0) & peak.isfinite(), peak, 1.0)
            scaled = flat[extreme] / peak[:, None]
            flat[extreme] = scaled
            mean[extreme] /= peak
            rest[extreme] = scaled @ self.weights
            sigma[extreme] = self._sigma(scaled, rest[extreme])
        usable = flat.sum(dim=1).isfinite() & sigma.isfinite() & (sigma > _SMALLEST_SIGMA * mean.abs())
        scale = self.sigma / sigma
        flat *= scale[:, None]
        flat -= (rest * scale)[:, None]
        return ~usable

    def _sigma(self, flat: Float[Tensor, "n pixels"], mean: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return (flat.square() @ self.weights - mean.square()).clamp_min(0).sqrt()
