"""How an encoder is taught to see through noise: settings only."""

from dataclasses import dataclass
from typing import Literal

from vitreous.methods.cryodrgn.config import CryoDrgnConfig, require


@dataclass(frozen=True)
class CryoNooConfig:
    """Settings of self-distillation: views of every image, whose latents are to agree with its own."""

    warmup: float = 10.0
    """Epochs before the first views are made."""

    views: Literal["rendered", "noised", "turned"] = "rendered"
    """rendered, what was decoded, seen again through new noise; noised, the image with more noise; or turned, the image
    turned and mirrored."""

    poses: Literal["own", "random"] = "own"
    """Poses in which views are rendered: the image's own; or random ones, at the cost of decoding each view."""

    factors: tuple[float, ...] = (1.0, 2.0, 3.0)
    """Noise of each view, over the level; so many views are made."""

    level: Literal["residual", "shells"] = "residual"
    """residual, half of the noise that the images have on what is decoded from them; or shells, σ of their highest
    frequencies."""

    shells_from: float = 0.75
    """Where these frequencies begin, as a share of Nyquist's."""

    weight: float = 0.01
    """Weight of the loss that makes latents agree."""

    loss: Literal["vicreg", "simsiam", "invariance"] = "vicreg"
    """vicreg, variance, invariance and covariance; simsiam, cosines with a predictor; or invariance alone."""

    gamma: float = 1.0
    """Standard deviation that vicreg wants of every output of the expander."""

    expander: int = 1024
    """Width of the expander's three layers; 0 compares the latents themselves."""

    gradient_through_views: bool = False
    """Let the loss change the decoder through the views that it rendered."""

    freeze_decoder: bool = False
    """Hold the decoder after the warm-up."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the flag."""
        for name in ("warmup", "weight", "gamma", "expander"):
            require(getattr(self, name) >= 0, f"noo.{name}", "at least 0", getattr(self, name))
        whole = len(self.factors) > 0 and min(self.factors) >= 0
        require(whole, "noo.factors", "one number from 0 up per view", self.factors)
        require(0 < self.shells_from < 1, "noo.shells_from", "between 0 and 1", self.shells_from)

    def refuse_unless_reached(self, network: CryoDrgnConfig) -> None:
        """Refuse batches of one, whose latents cannot be compared, and a training that ends before the warm-up does.

        Raises
        ------
        ConfigError
            With the flag to change.
        """
        require(network.batch > 1, "batch", "at least 2, as latents of a batch are compared", network.batch)
        turns_pixels = self.views != "turned" or network.encoder != "maps"
        require(turns_pixels, "noo.views", "rendered or noised, as --encoder maps knows the orientation", self.views)
        is_reached = self.warmup < network.epochs
        require(is_reached, "noo.warmup", f"less than --epochs, which is {network.epochs}", self.warmup)
