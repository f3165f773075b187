"""Two ways to cut standard views into tokens, behind one interface.

``lines``: two images of one particle share exactly one line through the origin of Fourier space, so rays of the
polar Fourier transform are tokens that cross-attention can match directly. ``patch``: squares of pixels, as in
CryoFastAR.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from vitreous.fourier.polar import polar_matrix, radial_lines
from vitreous.geometry.planar_maps import line_angles, line_directions, pixel_coordinates
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.rays import Rays
from vitreous.methods.fastar.views import CTF_MULTIPLIED, Views, soft_disc
from vitreous.nn.rotary import Rotary, circular_rotary, planar_rotary
from vitreous.typing import Float


@dataclass(frozen=True)
class Tokens:
    """Embedded views.

    Attributes
    ----------
    features
        ``[b, n, t, w]``.
    rays
        The rays that they were made of, where they were.
    """

    features: Float[Tensor, "b n t w"]
    rays: Rays | None = None

    def expand(self, sets: int) -> "Tokens":
        """Return the views of one set as those of several."""
        features = self.features.expand(sets, -1, -1, -1)
        return Tokens(features, None if self.rays is None else self.rays.expand(sets))

    def views(self, rows: slice) -> "Tokens":
        """Return some of the views."""
        return Tokens(self.features[:, rows], None if self.rays is None else self.rays.views(rows))


class Tokeniser(nn.Module, ABC):
    """Cuts views into tokens and says where each token's predictions lie.

    Attributes
    ----------
    coordinates
        ``X⁰`` of the predicted points ``[tokens · points, 3]``, token by token.
    points
        Predicted points per token.
    """

    coordinates: Tensor
    points: int

    @abstractmethod
    def rotary(self, head_width: int) -> Rotary:
        """Return the positions of the tokens for self-attention within a view."""

    @abstractmethod
    def forward(self, views: Views) -> "Tokens":
        """Embed views."""

    @abstractmethod
    def shifts(self, predicted: Float[Tensor, "b n p 2"]) -> Float[Tensor, "b n p 2"]:
        """Turn predicted pairs into shifts in the image's frame."""


@final
class LineTokens(Tokeniser):
    """Neighbouring rays of the polar Fourier transform, whitened shell by shell over the set.

    A set's power in excess of the noise weights each shell (as a Wiener filter would) and is told to every token,
    with the size of the CTF where it is known.
    """

    matrix: Tensor
    noise: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.shells, self.group, self.points = config.shells, config.group, 1
        matrix = polar_matrix(config.box, config.lines, config.shells)
        masked = matrix * soft_disc(config.box).reshape(-1, 1)
        power = masked.square().sum(0).unflatten(0, (-1, config.shells, 2)).mean((0, 2)) * 2
        angles = line_angles(config.lines).unflatten(0, (-1, config.group)).mean(1)
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("noise", power, persistent=False)
        self.register_buffer("coordinates", line_directions(angles), persistent=False)
        self.embed = nn.Linear(2 * config.group * config.shells, config.width)
        self.tell_ctf = nn.Linear(config.shells, config.width)
        self.tell_spectrum = nn.Linear(2 * config.shells, config.width)
        self.tell_treatment = nn.Embedding(3, config.width)
        _silence(self.tell_ctf, self.tell_spectrum, self.tell_treatment)

    def rotary(self, head_width: int) -> Rotary:
        """Return the angles of the tokens."""
        return circular_rotary(torch.atan2(self.coordinates[:, 1], self.coordinates[:, 0]), head_width)

    def forward(self, views: Views) -> Tokens:
        """Embed views."""
        rays, excess = self._rays(views)
        parts = rays.whitened()
        features = parts.unflatten(2, (-1, self.group)).flatten(3)
        context = self.tell_spectrum(_compressed(excess).flatten(1)) + self.tell_treatment(views.treatment)
        per_view = self.tell_ctf(views.ctf_size[..., : self.shells]) + context[:, None]
        return Tokens(self.embed(features) + per_view[:, :, None], rays)

    def _rays(self, views: Views) -> tuple[Rays, Tensor]:
        """Return rays and signal-to-noise ratios ``[b, shells, 2]``.

        Real and imaginary parts are whitened apart: the imaginary part of a centred particle is small at low
        frequency, and it is what tells a line from its opposite.
        """
        parts = torch.view_as_real(radial_lines(views.images, self.matrix, self.shells))
        mean = parts.mean((1, 2), keepdim=True)
        variance = (parts - mean).square().mean((1, 2))
        multiplied = (views.treatment == CTF_MULTIPLIED)[:, None, None]
        passed = torch.where(multiplied, views.ctf_size[..., : self.shells].square(), 1.0).mean(1)
        noise = 0.5 * (self.noise * passed.clamp_min(1e-4))[..., None]
        excess = (variance / noise - 1).clamp_min(0.0)
        scale = torch.sqrt(excess / ((1 + excess) * variance.clamp_min(1e-12)))
        return Rays(parts, mean, scale[:, None, None]), excess

    def shifts(self, predicted: Float[Tensor, "b n p 2"]) -> Float[Tensor, "b n p 2"]:
        """Predictions are along each line and across it, so that they turn with the image."""
        along = self.coordinates[:, :2]
        across = torch.stack([-along[:, 1], along[:, 0]], -1)
        return predicted[..., :1] * along + predicted[..., 1:] * across


@final
class PatchTokens(Tokeniser):
    """Square patches of pixels (the paper's ViT), the views scaled to unit variance over the set."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch, self.side = config.patch, config.box // config.patch
        self.points = config.patch**2
        grid = pixel_coordinates(config.box).unflatten(0, (self.side, self.patch, self.side, self.patch))
        self.register_buffer("coordinates", grid.transpose(1, 2).reshape(-1, 3), persistent=False)
        self.embed = nn.Linear(self.points, config.width)
        self.tell_ctf = nn.Linear(config.box // 2 - 1, config.width)
        self.tell_treatment = nn.Embedding(3, config.width)
        _silence(self.tell_ctf, self.tell_treatment)

    def rotary(self, head_width: int) -> Rotary:
        """Return the patches' places in the grid."""
        return planar_rotary(self.side, head_width, device=self.coordinates.device)

    def forward(self, views: Views) -> Tokens:
        """Embed views."""
        scale = views.images.square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12).rsqrt()
        blocks = (views.images * scale).unflatten(3, (self.side, self.patch)).unflatten(2, (self.side, self.patch))
        features = blocks.transpose(3, 4).flatten(4).flatten(2, 3)
        told = self.tell_ctf(views.ctf_size) + self.tell_treatment(views.treatment)[:, None]
        return Tokens(self.embed(features) + told[:, :, None])

    def shifts(self, predicted: Float[Tensor, "b n p 2"]) -> Float[Tensor, "b n p 2"]:
        """Predictions are in the image's frame already."""
        return predicted


def make_tokeniser(config: ModelConfig) -> Tokeniser:
    """Build the tokeniser that a config names."""
    return LineTokens(config) if config.tokens == "lines" else PatchTokens(config)


def _compressed(excess: Tensor) -> Tensor:
    """Map signal-to-noise ratios 0 … 400 and more to −1 … 1."""
    return torch.log1p(excess).clamp_max(6.0) / 3 - 1


def _silence(*layers: nn.Linear | nn.Embedding) -> None:
    """Start what is told to all tokens of a view at zero: as large as the image's own features, it drowns them."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
