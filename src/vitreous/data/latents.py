"""Where particles lie among the conformations."""

from dataclasses import dataclass

from vitreous.typing import Float, Tensor


@dataclass(frozen=True)
class Latents:
    """Normal posteriors of the latent coordinates of n particles.

    Attributes
    ----------
    mean, std
        ``[n, dims]``.
    """

    mean: Float[Tensor, "n dims"]
    std: Float[Tensor, "n dims"]

    def __post_init__(self) -> None:
        """Refuse arrays of different shape."""
        if self.mean.shape != self.std.shape:
            message = f"means {tuple(self.mean.shape)} for deviations {tuple(self.std.shape)}"
            raise ValueError(message)

    def __len__(self) -> int:
        return len(self.mean)
