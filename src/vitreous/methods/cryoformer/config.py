"""What CryoFormer is made of and how it is trained: settings only."""

import math
from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError


@dataclass(frozen=True)
class CryoFormerConfig:
    """Settings of the networks, of the rendering and of their training."""

    decoder: Literal["transformer", "mlp"] = "transformer"
    """transformer, structure queries that attend to the deformation and points that attend to them; or mlp, layers that
    see the features of a point beside the latent."""

    domain: Literal["real", "fourier"] = "real"
    """real, a density of points of space, summed along rays; or fourier, coefficients at the points of slices."""

    encoding: Literal["hash", "positional"] = "hash"
    """Features of a point: hash, a multi-resolution grid and a small layer; or positional, a positional encoding and a
    large network."""

    queries: int = 64
    """Structure queries."""

    channels: int = 64
    """Width of the queries, and of what a point asks for."""

    blocks: int = 3
    """Blocks in which queries attend to one another and to the deformation."""

    levels: int = 16
    """Resolutions of the hash grid."""

    level_features: int = 2
    """Features of each."""

    log2_entries: int = 15
    """Binary logarithm of the entries of each."""

    base: int = 16
    """Cells along the box at the coarsest resolution."""

    finest: int | None = None
    """Cells along the box at the finest resolution; the side of the images when not given."""

    features: int = 16
    """Features of a point after the small layer."""

    encoder: Literal["maps", "pixels"] | None = None
    """maps, a network of how much of a few principal maps the image shows in its own orientation, which are fitted
    first; or pixels, a network of the image, as in the paper. When not given, maps."""

    encoder_maps: int = 10
    """Principal maps that --cryoformer.encoder maps looks for."""

    encoder_width: int = 128
    """Width of the deformation encoder's layers."""

    encoder_layers: int = 3
    """Number of the deformation encoder's layers. The paper has ten, which short trainings do not always teach."""

    poses: Literal["given", "descent", "encoder"] = "given"
    """given, those of the particles' file as they are; or refined from there: descent, each by gradient descent; or
    encoder, by a network of the image as large as the deformation encoder."""

    pose_learning_rate: float = 3e-4
    """Learning rate of the poses (radians, and box lengths) or of their network at the start; it falls as the others
    do."""

    pose_wait: float = 0.05
    """Share of the training before poses move."""

    window: float = 0.85
    """Radius, as a share of half the box, from which images fade to 0 at 0.99; 1 switches the window off."""

    radius: float = 0.85
    """Radius, as a share of half the box, of the ball beyond which there is no density."""

    first_box: int = 16
    """Side, in pixels over the same field, at which images are rendered at first."""

    march: float = 0.6
    """Share of the training over which that side grows to the images' own."""

    epochs: int = 20
    """How often every particle is seen."""

    batch: int = 16
    """Particles per optimisation step."""

    learning_rate: float = 1e-3
    """Learning rate of Adam at the start; it falls to 0 as a cosine does."""

    grid_learning_rate: float = 1e-2
    """The same of the hash grid."""

    beta: float | None = None
    """Weight of the Kullback-Leibler term; one over the number of latent dimensions when not given."""

    beta_ramp: float = 0.5
    """Share of the training over which that weight rises from 0."""

    seed: int = 0
    """Seed of every random number."""

    def beta_at(self, done: float, dims: int) -> float:
        """Weight of the divergence of latents of a size where a share ``done`` of the training is over."""
        full = 1 / dims if self.beta is None else self.beta
        return full * min(1.0, done / self.beta_ramp) if self.beta_ramp > 0 else full

    def box_at(self, done: float, box: int) -> int:
        """Side at which images of ``box`` pixels are rendered where a share ``done`` of the training is over.

        It is even until it is the box's own, and grows geometrically.
        """
        if done >= self.march or self.first_box >= box:
            return box
        side = self.first_box * (box / self.first_box) ** (done / self.march)
        return min(box, 2 * round(side / 2))

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the flag."""
        lowest = {
            **dict.fromkeys(("queries", "channels", "levels", "level_features", "log2_entries", "features"), 1),
            **dict.fromkeys(("encoder_maps", "encoder_width", "epochs", "batch", "base"), 1),
            **dict.fromkeys(("blocks", "encoder_layers", "seed"), 0),
            "first_box": 8,
        }
        for name, low in lowest.items():
            _require(getattr(self, name) >= low, name, f"at least {low}", getattr(self, name))
        for name in ("learning_rate", "grid_learning_rate", "pose_learning_rate"):
            _require(0 < getattr(self, name) < math.inf, name, "a positive number", getattr(self, name))
        for name in ("window", "radius"):
            _require(0 < getattr(self, name) <= 1, name, "above 0, at most 1", getattr(self, name))
        for name in ("march", "beta_ramp", "pose_wait"):
            _require(0 <= getattr(self, name) < 1, name, "from 0, below 1", getattr(self, name))
        _require(self.log2_entries <= 24, "log2_entries", "at most 24", self.log2_entries)
        _require(self.first_box % 2 == 0, "first_box", "an even number", self.first_box)
        _require(self.beta is None or self.beta >= 0, "beta", "a number from 0 up", self.beta)
        is_finest = self.finest is None or self.finest >= self.base
        _require(is_finest, "finest", f"at least --cryoformer.base, which is {self.base}", self.finest)


def _require(holds: bool, name: str, expected: str, found: object) -> None:  # noqa: FBT001  the condition is the point
    if not holds:
        flag = f"--cryoformer.{name.replace('_', '-')}"
        raise ConfigError(f"{flag} cannot be used", expected=expected, found=found, remedy=f"Change {flag}")
