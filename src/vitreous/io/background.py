"""Background normalisation: every image on the scale of its own noise."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.typing import Bool, Float, Images

_SMALLEST_SIGMA = 1e-6
"""Share of the mean below which float32 images hold nothing but rounding."""

_SQUARES_FIT = (1e-15, 1e15)
"""Between these the squares of float32 pixels neither vanish nor overflow."""

_NOISE_FREE = 0.04
"""Share of an image's variance below which that of its background is not noise but what is left of the particle."""


@dataclass(frozen=True)
class Background:
    """The pixels outside a circle about the box centre, and the σ that they are given.

    Attributes
    ----------
    weights
        ``[box · box]``, equal on the background, 0 inside the circle, of sum 1.
    sigma
        Standard deviation of the background after normalisation.
    shared_sigma
        That of all images before it, where they have no noise that tells their scales; None takes each image's own.
    """

    weights: Float[Tensor, " pixels"]
    sigma: float = 1.0
    shared_sigma: float | None = None

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

    def for_stack(self, sample: Images) -> "Background":
        """Take one scale for all images of a stack without noise, as a sample of it shows; else leave each its own.

        Noise-free images, each brought to its own background's σ, would differ in scale by how much of the particle
        reaches their corners.
        """
        flat = sample.reshape(len(sample), -1).double()
        weights = self.weights.double()
        background = flat.square() @ weights - (flat @ weights).square()
        share = background / flat.var(dim=1, correction=0)
        known = share.isfinite()
        mean = float(background[known].mean()) if known.any() else 0.0
        if mean > 0 and float(share[known].median()) < _NOISE_FREE:
            return replace(self, shared_sigma=mean**0.5)
        return self

    def normalise_(self, images: Images) -> Bool[Tensor, " n"]:
        """Bring images in place to background mean 0 and the wanted σ; tell which could not be (NaN, constant).

        Images that could not be normalised are left with unspecified values.
        """
        flat = images.view(len(images), -1)
        if self.shared_sigma is not None:
            return self._share_scale_(flat, self.shared_sigma)
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

    def _share_scale_(self, flat: Float[Tensor, "n pixels"], shared: float) -> Bool[Tensor, " n"]:
        usable = flat.sum(dim=1).isfinite() & (flat.amax(dim=1) > flat.amin(dim=1))
        flat -= (flat @ self.weights)[:, None]
        flat /= shared / self.sigma
        return ~usable

    def _sigma(self, flat: Float[Tensor, "n pixels"], mean: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return (flat.square() @ self.weights - mean.square()).clamp_min(0).sqrt()
