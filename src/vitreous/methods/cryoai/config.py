"""What the amortised ab initio method is made of and how it is trained: settings only."""

import math
from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError

VolumeKind = Literal["fouriernet", "siren", "mlp", "voxels"]
LossKind = Literal["l2", "symmetric", "mirrored"]
EncoderKind = Literal["mlp", "cnn"]


@dataclass(frozen=True)
class CryoAIConfig:
    """Settings of the encoder, the map and their training."""

    volume: VolumeKind = "voxels"
    """What holds the map in Fourier space: fouriernet, two SIRENs, the exponential of one times the other; siren; mlp,
    ReLU layers behind a positional encoding; or voxels, interpolated trilinearly."""

    width: int = 256
    """Features of the map's networks."""

    omega: float = 30.0
    """Frequency of the first sines of fouriernet and siren, in radians per half of the decoder's box."""

    decoder_box: int = 32
    """Side, in pixels over the same field, of the images that the map is compared with; the images' own if smaller.
    More makes the network's own map finer, and its training longer."""

    encoder: EncoderKind = "mlp"
    """Turns images into poses: mlp, three layers of all pixels; or cnn, the paper's filters and convolutions."""

    encoder_box: int = 32
    """Side, in pixels over the same field, of what the encoder sees; the images' own if smaller. The paper's is 128."""

    encoder_width: int = 1024
    """Features of a layer of mlp."""

    channels: int = 16
    """Channels of the first layer of cnn; the others have 2, 4, 16 and 32 times as many. The paper's are 64."""

    heads: int = 7
    """Poses that the encoder proposes for an image; the best alone learns from it. The paper's encoder has one."""

    whiten: bool = True
    """Let all shells count alike: images are divided by their root mean square in every shell. Without it, as in the
    paper, the lowest, where the power is, count most."""

    shift_range: float = 0.1
    """Largest shift along an axis, as a share of the box side; 0 takes all particles as centred."""

    window: float = 0.85
    """Radius, as a share of half the box, from which images fade to 0 at 0.99; 1 switches the window off."""

    loss: LossKind = "mirrored"
    """l2, the pose of the image; symmetric, the better of that and of the image turned by half a turn; mirrored, also
    the poses that give the same images of a map that is its own mirror image."""

    steps: int = 30_000
    """Optimisation steps, at most."""

    minutes: float | None = None
    """Longest time of training, without the prediction of the poses after it; no limit by default."""

    batch: int = 64
    """Particles per optimisation step."""

    learning_rate: float = 3e-4
    """Learning rate of Adam."""

    voxel_learning_rate: float = 3e-2
    """Learning rate of voxels."""

    march_from: float | None = 4.0
    """Radius, in Fourier pixels, within which images are compared at first; None compares all frequencies from the
    beginning."""

    march_steps: int = 3_000
    """Steps over which that radius grows to all frequencies."""

    round_steps: int = 250
    """Steps after which convergence is judged."""

    patience: int = 4
    """Training ends where the map explains no more after so many rounds."""

    tolerance: float = 0.01
    """Relative gain in explained power that counts as more."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Number format of the encoder; the map is computed in 32 bits."""

    polish_steps: int = 0
    """Steps of gradient descent on every particle's pose after training, the map held; 0 for none."""

    polish_learning_rate: float = 0.01
    """Their learning rate, in radians."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the flag."""
        lowest = {
            **dict.fromkeys(
                ("width", "encoder_width", "channels", "heads", "steps", "batch", "round_steps", "patience"), 1
            ),
            **{"decoder_box": 8, "encoder_box": 16, "march_steps": 1, "polish_steps": 0},
        }
        for name, low in lowest.items():
            _require(getattr(self, name) >= low, name, f"at least {low}", getattr(self, name))
        for name in ("omega", "learning_rate", "voxel_learning_rate", "polish_learning_rate"):
            _require(0 < getattr(self, name) < math.inf, name, "a positive number", getattr(self, name))
        _require(0 <= self.shift_range <= 0.5, "shift_range", "0 to 0.5", self.shift_range)
        _require(0 < self.window <= 1, "window", "above 0, at most 1", self.window)
        _require(self.tolerance >= 0, "tolerance", "a number from 0 up", self.tolerance)
        _require(self.minutes is None or self.minutes > 0, "minutes", "a positive number", self.minutes)
        _require(self.march_from is None or self.march_from >= 1, "march_from", "at least 1", self.march_from)


def _require(holds: bool, name: str, expected: str, found: object) -> None:  # noqa: FBT001  the condition is the point
    if not holds:
        flag = f"--cryoai.{name.replace('_', '-')}"
        raise ConfigError(f"{flag} cannot be used", expected=expected, found=found, remedy=f"Change {flag}")
