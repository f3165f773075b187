"""The pose network: a shared encoder, stacked view-integration and view-update blocks, two heads.

CryoFastAR (arXiv:2506.05864) section 4.1, equations 7–9: the reference view gathers from all others by
cross-attention and gives back to each, so that cost and memory are linear in the number of views.
"""

from dataclasses import dataclass, replace
from typing import cast, final

import torch
from torch import Tensor, nn

from vitreous.errors import InputError
from vitreous.geometry.planar_maps import mean_shift, weighted_kabsch
from vitreous.methods.fastar.config import ModelConfig
from vitreous.methods.fastar.matching import NO_MATCHES, Matches, RayMatching
from vitreous.methods.fastar.ray_map import Gathered, RayMap, RoughPoses
from vitreous.methods.fastar.rays import Rays
from vitreous.methods.fastar.tokens import Tokens, make_tokeniser
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


@dataclass(frozen=True)
class Frame:
    """A reference before and after it has gathered from views; any number of views can be placed in it.

    Attributes
    ----------
    states
        Its tokens, layer by layer ``[b, t, w]``.
    rays
        Its whitened rays, where the network matches them ``[b, r, s, 2]``.
    maps
        What was gathered from its views.
    """

    states: list[Float[Tensor, "b t w"]]
    rays: Float[Tensor, "b r s 2"] | None
    maps: list[Gathered]


def joined(frames: list[Frame]) -> Frame:
    """Return several frames, one set of each, as one."""
    rays = [frame.rays for frame in frames if frame.rays is not None]
    return Frame(
        [torch.cat(layer) for layer in zip(*(frame.states for frame in frames))],
        torch.cat(rays) if rays else None,
        [
            Gathered(torch.cat([g.values for g in maps]), torch.cat([g.weights for g in maps]))
            for maps in zip(*(frame.maps for frame in frames))
        ],
    )


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

    def forward(self, hub: Tensor, others: Tensor, bias: Tensor | None) -> Tensor:
        """Update ``hub [b, t, w]``, whose positions are in its features, from ``others [b, n, t, w]``."""
        return self.together(self.alone(hub), others.flatten(1, 2), bias)


@final
class _Update(_Layer):
    """Every other view refines itself, then gathers from the reference."""

    def forward(self, hub: Tensor, others: Tensor, rotary: Rotary, bias: Tensor | None) -> Tensor:
        """Update ``others [b, n, t, w]`` from ``hub [b, t, w]``."""
        alone = self.alone(others.flatten(0, 1), rotary).unflatten(0, others.shape[:2])
        return self.together(alone.flatten(1, 2), hub, bias).view_as(others)


class PoseNetwork(nn.Module):
    """Predicts the planar maps of sets of views in one forward pass."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.wide_decoder
        self.tokeniser = make_tokeniser(config)
        self.encoder = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.encoder_depth))
        self.bridge = nn.Identity() if width == config.width else nn.Linear(config.width, width)
        self.place = nn.Sequential(nn.Linear(9, width), nn.GELU(approximate="tanh"), nn.Linear(width, width))
        self.roles = nn.Parameter(0.02 * torch.randn(2, width))
        self.matching = _matching(config) if config.matches else None
        self.maps = nn.ModuleList(RayMap(width, config) for _ in range(config.maps))
        self.integrate = nn.ModuleList(_Integrate(config) for _ in range(config.decoder_depth))
        self.update = nn.ModuleList(_Update(config) for _ in range(config.decoder_depth))
        outputs = 6 * self.tokeniser.points
        self.heads = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs)) for _ in range(2))

    @property
    def coordinates(self) -> Float[Tensor, "p 3"]:
        """``X⁰`` of the predicted points."""
        return self.tokeniser.coordinates

    def forward(self, views: Views, context: int | None = None) -> list[Prediction]:
        """Predict; the last entry is the answer, those before it are what maps are gathered from within the decoder.

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
        tokens = self.encode(views)
        placed = tokens.views(slice(1, None))
        hub, (others, matches) = self._hub(tokens), self._others(placed, _reference_rays(tokens))
        predictions = []
        for layer, update in enumerate(self.update):
            hub = self.integrate[layer](hub, others[:, :context], matches.hub_bias(layer, context))
            others = update(hub, others, self._rotary, matches.view_bias(layer))
            if layer in self._compares:
                predictions.append(self._predict(hub, others))
                others = others + self._compared(tokens, predictions[-1], self._compares[layer], context)[0]
        return [*predictions, self._predict(hub, others)]

    def encode(self, views: Views) -> Tokens:
        """Tokens of each view on its own (equation 7)."""
        if views.images.shape[-2:] != (self.config.box, self.config.box):
            raise InputError(
                "the views do not fit the network",
                expected=f"{self.config.box} × {self.config.box} px",
                found=" × ".join(str(n) for n in views.images.shape[-2:]),
                remedy="Cut standard views of the network's box",
            )
        tokens = self.tokeniser(views)
        x = tokens.features.flatten(0, 1)
        for block in self.encoder:
            x = block(x, self._rotary)
        return replace(tokens, features=self.bridge(x).unflatten(0, tokens.features.shape[:2]))

    def rays(self, views: Views) -> Rays:
        """Rays of views, as they are matched and gathered."""
        return _rays(self.tokeniser(views))

    def gather(self, rays: Rays, poses: RoughPoses) -> list[Gathered]:
        """Sum over views of what they say of each direction, for every map of the decoder."""
        parts = rays.recentred(poses.shifts)
        return [self._map(which).gather(parts, poses).total() for which in range(self.config.maps)]

    def frame(self, tokens: Tokens) -> Frame:
        """States of the reference, the first view, that define a frame in which any number of views can be placed."""
        rays = _reference_rays(tokens)
        hub, (others, matches) = self._hub(tokens), self._others(tokens.views(slice(1, None)), rays)
        states, maps = [], []
        for layer, update in enumerate(self.update):
            hub = self.integrate[layer](hub, others, matches.hub_bias(layer))
            states.append(hub)
            others = update(hub, others, self._rotary, matches.view_bias(layer))
            if layer in self._compares:
                found, gathered = self._compared(tokens, self._predict(hub, others), self._compares[layer], None)
                others = others + found
                maps.append(gathered)
        return Frame(states, rays, maps)

    def place_in(self, frame: Frame, tokens: Tokens) -> Prediction:
        """Predict views in a frame that stands; each view depends on the frame and itself alone."""
        others, matches = self._others(tokens, frame.rays)
        for layer, update in enumerate(self.update):
            others = update(frame.states[layer], others, self._rotary, matches.view_bias(layer))
            if layer in self._compares:
                which = self._compares[layer]
                poses = self._poses(self._read(self.heads[1](others)))
                others = others + self._map(which).compare(_rays(tokens).recentred(poses.shifts), frame.maps[which])
        return self._read(self.heads[1](others))

    @property
    def _compares(self) -> dict[int, int]:
        """After which layers views are compared with the map of the moment, and with which one."""
        maps, depth = self.config.maps, self.config.decoder_depth
        return {depth - 1 - maps + m: m for m in range(maps)}

    def _map(self, which: int) -> RayMap:
        return cast("RayMap", self.maps[which])

    def _poses(self, prediction: Prediction) -> RoughPoses:
        with torch.no_grad(), torch.autocast(prediction.slices.device.type, enabled=False):
            rotations, shifts = prediction.poses(self.coordinates)
            return RoughPoses(rotations, shifts, 1 - prediction.confidences.reciprocal().mean(-1))

    def _compared(
        self, tokens: Tokens, prediction: Prediction, which: int, context: int | None
    ) -> tuple[Float[Tensor, "b m t w"], Gathered]:
        """Gather a map from all views that are heard; compare all but the reference with the share of the others."""
        poses = self._poses(prediction)
        parts = _rays(tokens).recentred(poses.shifts)
        trust = poses.weights[:, 1:].clamp_min(1e-7)
        if context is not None:
            trust = trust * (torch.arange(trust.shape[1], device=trust.device) < context)
        known = trust.amax(1, keepdim=True)  # the reference's own pose is
        poses = replace(poses, weights=torch.cat([known, trust], 1) / known)
        own = self._map(which).gather(parts, poses)
        gathered = own.total()
        return self._map(which).compare(parts[:, 1:], gathered, own.views(slice(1, None))), gathered

    def _others(self, tokens: Tokens, reference: Tensor | None) -> tuple[Tensor, Matches]:
        """Return the tokens of views that are no reference, and what they have in common with it."""
        others = tokens.features + self.roles[1]
        if self.matching is None or tokens.rays is None or reference is None:
            return others, NO_MATCHES
        matches = self.matching(tokens.rays.whitened(), reference)
        return others if matches.features is None else others + matches.features, matches

    @property
    def _rotary(self) -> Rotary:
        return self.tokeniser.rotary(self.config.width // self.config.heads)

    def _hub(self, tokens: Tokens) -> Tensor:
        """Tokens of the reference, told where they lie in its own frame."""
        places = self.coordinates.unflatten(0, (-1, self.tokeniser.points)).mean(1)
        return tokens.features[:, 0] + self.place(_harmonics(places)) + self.roles[0]

    def _predict(self, hub: Tensor, others: Tensor) -> Prediction:
        read = self._read(torch.cat([self.heads[0](hub)[:, None], self.heads[1](others)], 1))
        own = self.coordinates.expand_as(read.slices[:, :1])  # known, and so never trained
        return replace(read, slices=torch.cat([own, read.slices[:, 1:]], 1))

    def _read(self, outputs: Tensor) -> Prediction:
        raw = outputs.float().unflatten(-1, (-1, 6)).flatten(2, 3)
        shifts = self.tokeniser.shifts(0.02 * raw[..., 3:5])
        return Prediction(raw[..., :3], shifts, 1 + torch.exp(raw[..., 5].clamp(-15, 8)))


def _rays(tokens: Tokens) -> Rays:
    if tokens.rays is None:
        raise TypeError("tokens that are not rays cannot be gathered")
    return tokens.rays


def _reference_rays(tokens: Tokens) -> Tensor | None:
    return None if tokens.rays is None else tokens.rays.views(slice(1)).whitened()[:, 0]


def _matching(config: ModelConfig) -> RayMatching:
    width, heads = config.wide_decoder, config.wide_decoder * config.heads // config.width
    return RayMatching(width, heads, config)


def _harmonics(directions: Float[Tensor, "p 3"]) -> Float[Tensor, "p 9"]:
    """Coordinates and their products: what a linear layer needs to tell places apart."""
    x, y, z = directions.unbind(-1)
    products = [x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1, x**3 - 3 * x * y**2]
    return torch.cat([directions, torch.stack(products, -1)], -1)
