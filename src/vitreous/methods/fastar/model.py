"""The pose network: a shared encoder, stacked view-integration and view-update blocks, two heads.

CryoFastAR (arXiv:2506.05864) section 4.1, equations 7–9: the reference view gathers from all others by
cross-attention and gives back to each, so that cost and memory are linear in the number of views.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from vitreous.errors import InputError
from vitreous.geometry.grids import fibonacci_directions
from vitreous.geometry.planar_maps import mean_shift, weighted_kabsch
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.tokens import make_tokeniser
from vitreous.methods.fastar.views import Views
from vitreous.nn.attention import CrossBlock, SelfBlock
from vitreous.nn.rotary import Rotary
from vitreous.typing import Float


@dataclass(frozen=True)
class Prediction:
    """Planar maps of all views in the frame of the first, in two parts, with confidences.

    Attributes
    ----------
    slices
        ``R_1 R_iᵀ X⁰`` ``[b, n, p, 3]``, that of the reference exactly ``X⁰``.
    shifts
        Shift that each point reports ``[b, n, p, 2]``, in units of the field.
    confidences
        ``1 + exp(·)`` ``[b, n, p]``.
    """

    slices: Float[Tensor, "b n p 3"]
    shifts: Float[Tensor, "b n p 2"]
    confidences: Float[Tensor, "b n p"]

    @property
    def maps(self) -> Float[Tensor, "b n p 3"]:
        """The planar maps of equation 10: slice plus shift."""
        return self.slices + nn.functional.pad(self.shifts, (0, 1))

    def poses(self, coordinates: Float[Tensor, "p 3"]) -> tuple[Float[Tensor, "b n 3 3"], Float[Tensor, "b n 2"]]:
        """Relative rotations ``R_1 R_iᵀ`` (equation 13) and shifts (equation 12) of all views."""
        sources = coordinates.expand_as(self.slices)
        padded = nn.functional.pad(self.shifts, (0, 1))
        return weighted_kabsch(self.slices, sources, self.confidences), mean_shift(padded, self.confidences)


class _Layer(nn.Module):
    """Views refine themselves by self-attention, then gather by cross-attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads = config.wide_decoder, config.wide_decoder * config.heads // config.width
        self.alone = SelfBlock(width, heads, feed_forward=not config.slim)
        self.together = CrossBlock(width, heads)


@final
class _Integrate(_Layer):
    """The reference refines itself, then gathers from all other views."""

    def forward(self, hub: Tensor, others: Tensor, rotary: Rotary | None) -> Tensor:
        """Update ``hub [b, t, w]`` from ``others [b, n, t, w]``; with no rotary, positions are in the features."""
        return self.together(self.alone(hub, rotary), others.flatten(1, 2))


@final
class _Update(_Layer):
    """Every other view refines itself, then gathers from the reference."""

    def forward(self, hub: Tensor, others: Tensor, rotary: Rotary | None) -> Tensor:
        """Update ``others [b, n, t, w]`` from ``hub [b, t, w]``."""
        alone = self.alone(others.flatten(0, 1), rotary).unflatten(0, others.shape[:2])
        return self.together(alone.flatten(1, 2), hub).view_as(others)


class PoseNetwork(nn.Module):
    """Predicts the planar maps of sets of views in one forward pass."""

    memory: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.wide_decoder
        self.tokeniser = make_tokeniser(config)
        self.encoder = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.encoder_depth))
        self.bridge = nn.Identity() if width == config.width else nn.Linear(config.width, width)
        self.place = nn.Sequential(nn.Linear(9, width), nn.GELU(approximate="tanh"), nn.Linear(width, width))
        self.roles = nn.Parameter(0.02 * torch.randn(3, width))
        self.integrate = nn.ModuleList(_Integrate(config) for _ in range(config.decoder_depth))
        self.update = nn.ModuleList(_Update(config) for _ in range(config.decoder_depth))
        outputs = 6 * self.tokeniser.points
        self.heads = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs)) for _ in range(2))
        self.register_buffer("memory", fibonacci_directions(config.memory), persistent=False)

    @property
    def coordinates(self) -> Float[Tensor, "p 3"]:
        """``X⁰`` of the predicted points."""
        return self.tokeniser.coordinates

    def forward(self, views: Views, context: int | None = None) -> list[Prediction]:
        """Predict after every decoder layer; the last entry is the answer, the others serve training.

        Parameters
        ----------
        views
            Sets of views; the first of each is the reference.
        context
            How many views after the reference it gathers from, all by default. The rest learns from the reference
            without being heard, as particles do that are placed one by one in a frame that stands; only the
            whitening of the tokens takes account of all.

        Raises
        ------
        InputError
            Where a set has no view beside its reference, or the views are not of the network's box.
        """
        if views.images.shape[1] < 2:
            raise InputError("a set of one view has no relative poses", remedy="Give two views or more")
        x = self.encode(views)
        hub, others = self._hub(x[:, 0]), x[:, 1:] + self.roles[1]
        t, rotary = x.shape[2], self._rotary
        predictions = []
        for integrate, update in zip(self.integrate, self.update):
            hub = integrate(hub, others[:, :context], None)
            others = update(hub, others, rotary)
            predictions.append(self._predict(hub[:, :t], others))
        return predictions

    def encode(self, views: Views) -> Float[Tensor, "b n t w"]:
        """Tokens of each view on its own (equation 7)."""
        if views.images.shape[-2:] != (self.config.box, self.config.box):
            raise InputError(
                "the views do not fit the network",
                expected=f"{self.config.box} × {self.config.box} px",
                found=" × ".join(str(n) for n in views.images.shape[-2:]),
                remedy="Cut standard views of the network's box",
            )
        tokens = self.tokeniser(views)
        x = tokens.flatten(0, 1)
        for block in self.encoder:
            x = block(x, self._rotary)
        return self.bridge(x).unflatten(0, tokens.shape[:2])

    def frame(self, tokens: Float[Tensor, "b n t w"]) -> list[Float[Tensor, "b m w"]]:
        """States of the reference, layer by layer, that define a frame in which any number of views can be placed."""
        hub, others = self._hub(tokens[:, 0]), tokens[:, 1:] + self.roles[1]
        states = []
        for integrate, update in zip(self.integrate, self.update):
            hub = integrate(hub, others, None)
            states.append(hub)
            others = update(hub, others, self._rotary)
        return states

    def place_in(self, frame: list[Float[Tensor, "b m w"]], tokens: Float[Tensor, "b n t w"]) -> Prediction:
        """Predict views in a frame that stands; each view depends on the frame and itself alone."""
        others = tokens + self.roles[1]
        for hub, update in zip(frame, self.update):
            others = update(hub, others, self._rotary)
        return self._read(self.heads[1](others))

    @property
    def _rotary(self) -> Rotary:
        return self.tokeniser.rotary(self.config.width // self.config.heads)

    def _hub(self, reference: Tensor) -> Tensor:
        """Tokens of the reference, told where they lie in its own frame, and those of the memory."""
        places = self.coordinates.unflatten(0, (-1, self.tokeniser.points)).mean(1)
        hub = reference + self.place(_harmonics(places)) + self.roles[0]
        if not len(self.memory):
            return hub
        blank = (self.place(_harmonics(self.memory)) + self.roles[2]).to(hub.dtype)
        return torch.cat([hub, blank.expand(len(hub), -1, -1)], 1)

    def _predict(self, hub: Tensor, others: Tensor) -> Prediction:
        read = self._read(torch.cat([self.heads[0](hub)[:, None], self.heads[1](others)], 1))
        own = self.coordinates.expand_as(read.slices[:, :1])  # known, and so never trained
        return replace(read, slices=torch.cat([own, read.slices[:, 1:]], 1))

    def _read(self, outputs: Tensor) -> Prediction:
        raw = outputs.float().unflatten(-1, (-1, 6)).flatten(2, 3)
        shifts = self.tokeniser.shifts(0.02 * raw[..., 3:5])
        return Prediction(raw[..., :3], shifts, 1 + torch.exp(raw[..., 5].clamp(-15, 8)))


def _harmonics(directions: Float[Tensor, "p 3"]) -> Float[Tensor, "p 9"]:
    """Coordinates and their products: what a linear layer needs to tell places apart."""
    x, y, z = directions.unbind(-1)
    products = [x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1, x**3 - 3 * x * y**2]
    return torch.cat([directions, torch.stack(products, -1)], -1)
