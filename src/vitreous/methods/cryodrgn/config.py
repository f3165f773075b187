"""What a variational autoencoder of projections is made of and how it is trained: settings only."""

from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.nn.positional import Encoding


@dataclass(frozen=True)
class CryoDrgnConfig:
    """Settings of the networks and of their training."""

    encoder: Literal["pixels", "maps"] | None = None
    """pixels, a network of the image; or maps, a network of how much of a few principal maps the image shows in its own
    orientation, which are fitted first. When not given, maps for cryonoo (pixels with --noo.views turned) and
    pixels for cryodrgn."""

    encoder_maps: int = 10
    """Principal maps that --encoder maps looks for."""

    encoder_width: int = 256
    """Width of the encoder's residual layers."""

    encoder_layers: int = 3
    """Number of the encoder's residual layers."""

    decoder: Literal["mlp", "basis"] = "mlp"
    """mlp, a network of points of Fourier space; or basis, a mean and a few maps, which z combines."""

    basis_maps: int = 0
    """Maps of the basis, whose coefficients a small network makes from z; 0 takes z itself, one map for each number."""

    basis_learning_rate: float = 3e-3
    """Learning rate of the basis."""

    decoder_width: int = 256
    """Width of the decoder's residual layers."""

    decoder_layers: int = 3
    """Number of the decoder's residual layers."""

    encoding: Encoding = "gaussian"
    """Positional encoding of the decoder's coordinates."""

    encoding_sigma: float = 0.5
    """Width of the Gaussian encoding, in units of half the box."""

    window: float = 0.85
    """Radius, as a share of half the box, from which images fade to 0 at 0.99; 1 switches the window off."""

    epochs: int = 20
    """How often every particle is seen."""

    batch: int = 32
    """Particles per optimisation step."""

    learning_rate: float = 1e-3
    """Learning rate of Adam. The papers' 1e-4 is for trainings of some hundred thousand steps."""

    anneal: float | None = None
    """Share of the training, at its end, over which the learning rates fall to 0 as a cosine does; 0 for never. When
    not given, 0.5, and 0 for autodecoder, whose latents would stop on their way."""

    beta: float | None = None
    """Weight of the Kullback-Leibler term; one over the number of latent dimensions when not given."""

    beta_ramp: float = 0.0
    """Epochs over which that weight rises from 0."""

    patience: int | None = None
    """Epochs without a lower loss before the learning rate is halved, 0 for never; 3 for cryonoo and 0 for others when
    not given."""

    refine_poses: bool = False
    """Refine orientation and shift of every particle by gradient descent."""

    pose_learning_rate: float = 3e-4
    """Learning rate of the poses: radians, and box lengths."""

    pose_wait: float = 1.0
    """Epochs before poses move."""

    seed: int = 0
    """Seed of every random number."""

    def full_beta(self, dims: int) -> float:
        """Weight of the divergence of latents of a size, once it has risen."""
        return 1 / dims if self.beta is None else self.beta

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the flag."""
        at_least_one = ("encoder_maps", "encoder_width", "decoder_width", "epochs", "batch")
        for name, low in {
            **dict.fromkeys(at_least_one, 1),
            **dict.fromkeys(("encoder_layers", "decoder_layers", "beta_ramp", "pose_wait", "seed", "basis_maps"), 0),
        }.items():
            require(getattr(self, name) >= low, name, f"at least {low}", getattr(self, name))
        for name in ("learning_rate", "pose_learning_rate", "basis_learning_rate", "encoding_sigma"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        movable = not (self.refine_poses and self.decoder == "basis")
        require(movable, "refine_poses", "--decoder mlp, as slices of a grid have no gradient for poses", self.decoder)
        require(self.anneal is None or 0 <= self.anneal <= 1, "anneal", "from 0 to 1", self.anneal)
        require(0 < self.window <= 1, "window", "above 0, at most 1", self.window)
        require(self.beta is None or self.beta >= 0, "beta", "a number from 0 up", self.beta)
        require(self.patience is None or self.patience >= 0, "patience", "a number from 0 up", self.patience)


@dataclass(frozen=True)
class AutodecoderConfig:
    """Settings of latents that no encoder finds."""

    learning_rate: float = 3e-2
    """Learning rate of the latents, in training and for new particles."""

    embed_steps: int = 100
    """Steps of gradient descent for the latents of new particles."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the flag."""
        require(self.learning_rate > 0, "autodecoder.learning_rate", "a positive number", self.learning_rate)
        require(self.embed_steps >= 1, "autodecoder.embed_steps", "at least 1", self.embed_steps)


def require(holds: bool, name: str, expected: str, found: object) -> None:  # noqa: FBT001  the condition is the point
    """Refuse the value of the option ``name`` unless the condition holds."""
    if not holds:
        flag = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{flag} cannot be used", expected=expected, found=found, remedy=f"Change {flag}")
