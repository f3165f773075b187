"""The pose network's architecture as data."""

from dataclasses import dataclass, field
from typing import Literal

from vitreous.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the pose network; what a file of weights is made for."""

    tokens: Literal["lines", "patch"] = "lines"
    """What a token is: radial lines of the polar Fourier transform, or square patches of pixels (the paper)."""

    box: int = 32
    """Side in pixels of the standard view, which spans 4/3 of the particle's diameter."""

    lines: int = 48
    """Radial lines over the full circle (lines)."""

    shells: int = 15
    """Fourier shells of a line, in units of one over the field (lines)."""

    group: int = 2
    """Neighbouring lines in one token (lines)."""

    patch: int = 4
    """Side of a patch in pixels (patch)."""

    width: int = 128
    """Features of an encoder token."""

    decoder_width: int | None = None
    """Features of a decoder token; the encoder's by default."""

    heads: int = 4
    """Attention heads of the encoder; the decoder's have the same width."""

    encoder_depth: int = 2
    """Blocks that see one view at a time."""

    decoder_depth: int = 6
    """Pairs of a view-integration and a view-update block."""

    slim: bool = True
    """One feed-forward layer per decoder block instead of two."""

    matches: int = 8
    """Filters through which the rays of views are correlated with the reference's; 0 leaves it to attention (lines)."""

    maps: int = 3
    """Times, between the last layers of the decoder, that views are compared with a map of all rays (lines)."""

    map_directions: int = 128
    """Directions of that map, over half the sphere."""

    map_filters: int = 1
    """Bands of frequencies in which views are correlated with that map."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.width % self.heads or (self.width // self.heads) % 4 or self.wide_decoder % (self.width // self.heads):
            raise ConfigError(
                "the widths do not fit the heads",
                expected="widths that are multiples of a head's, itself a multiple of 4",
                found=f"{self.width} and {self.wide_decoder} features, {self.heads} heads",
                remedy="Change --model.width, --model.decoder-width or --model.heads",
            )
        if self.tokens == "patch" and self.box % self.patch:
            raise ConfigError(
                "patches do not tile the view",
                found=f"{self.box} px, patches of {self.patch}",
                remedy="Change --model.box or --model.patch",
            )
        if self.tokens == "patch" and (self.matches or self.maps):
            raise ConfigError(
                "patches have no rays to match or to gather",
                found=f"{self.matches} filters for matches, {self.maps} maps",
                remedy="Give --model.matches 0 and --model.maps 0 with --model.tokens patch",
            )
        if (
            not 0 <= self.maps < self.decoder_depth
            or self.matches < 0
            or min(self.map_directions, self.map_filters) < 1
        ):
            raise ConfigError(
                "the numbers of filters and maps cannot be",
                expected="--model.maps below --model.decoder-depth, and none below 0",
                found=f"{self.matches} filters for matches; {self.maps} maps of {self.map_directions} directions "
                f"and {self.map_filters} filters, {self.decoder_depth} layers",
                remedy="Change --model.matches, --model.maps, --model.map-directions or --model.map-filters",
            )
        if self.tokens == "lines" and (self.lines % (2 * self.group) or self.shells >= self.box / 2):
            raise ConfigError(
                "lines do not fit the view",
                expected="lines a multiple of twice --model.group, and shells below half the box",
                found=f"{self.lines} lines, {self.shells} shells, {self.group} in a token, {self.box} px",
                remedy="Change --model.lines or --model.shells",
            )

    @property
    def wide_decoder(self) -> int:
        """Features of a decoder token."""
        return self.decoder_width or self.width


VIT_LARGE = ModelConfig(
    tokens="patch",
    box=128,
    patch=16,
    width=1024,
    decoder_width=768,
    heads=16,
    encoder_depth=24,
    decoder_depth=12,
    slim=False,
    matches=0,
    maps=0,
)
"""The paper's network: ViT-Large encoder, twelve decoder layers of 768 features, patches of 16 px at 128 px."""


@dataclass(frozen=True)
class FrameConfig:
    """How the pose network is asked; the defaults are right for a first run."""

    candidates: int = 64
    """Random particles tried as reference, per half of the particles."""
    ranking_views: int = 32
    """Views by which a candidate is judged."""
    references: int = 4
    """Best of them whose frames are fused in the first pass, per half of the particles."""
    finalists: int = 2
    """Frames that agreed best with the others, with which the later passes go on."""
    passes: int = 3
    """Predictions of all particles; each has the views centred, and the map gathered from all, as the last one says."""
    particles: int = 2000
    """Particles, of both halves together, that are placed for a search to begin with; the network alone places all."""

    @property
    def compared(self) -> int:
        """Frames in which every particle is placed in the last pass."""
        return self.references if self.passes == 1 else min(self.references, self.finalists)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, least in (
            ("candidates", 1),
            ("ranking_views", 2),
            ("references", 1),
            ("finalists", 1),
            ("passes", 1),
            ("particles", 100),
        ):
            if getattr(self, name) < least:
                flag = f"--network.{name.replace('_', '-')}"
                raise ConfigError(
                    f"{flag} must be at least {least}", found=getattr(self, name), remedy="Give a larger number"
                )
        if self.references > self.candidates:
            raise ConfigError(
                "--network.references are chosen from --network.candidates",
                expected=f"at most {self.candidates}",
                found=self.references,
                remedy="Raise --network.candidates",
            )


@dataclass(frozen=True)
class FastARConfig:
    """Settings of ab initio by the pose network.

    Attributes
    ----------
    diameter_A
        Diameter of the particle; estimated from the images where None.
    seed
        Seed of the references, the views that define their frames, and the half-sets.
    frames
        How the network is asked.
    """

    diameter_A: float | None = None
    seed: int = 0
    frames: FrameConfig = field(default_factory=FrameConfig)
