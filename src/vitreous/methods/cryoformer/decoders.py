"""From the features of points and the latents of images to what there is at the points.

The deformation feature of an image is a linear map of its latent. In the transformer (section 3.5 of the paper) learned
structure queries attend to one another and to it; a point then attends to the queries, and what it gathers there is
read out. The softmax over the queries is the three-dimensional attention map.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F  # noqa: N812  the name that torch's own documentation uses
from torch import Tensor, nn

from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.nn.attention import Attention, CrossBlock, SelfBlock, attend, softmax
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.typing import Float

_HEADS, _LAYERS = 1, 2
_PROTOTYPES, _GAIN, _ASKED = 0.2, 2.0, 1.0
"""At the start: size of the prototypes, gain of queries and keys, size of the weights of what points ask for.

With torch's usual ones everything would weigh nearly alike everywhere, and a latent could at first change hardly more
than the density of the whole ball: its local effect is a dozen times as large with these.
"""


class PointDecoder(nn.Module, ABC):
    """Numbers at points of images of given latents."""

    @abstractmethod
    def forward(
        self, features: Float[Tensor, "b p features"], z: Float[Tensor, "b dims"]
    ) -> Float[Tensor, "b p outputs"]:
        """Return the numbers."""


def make_point_decoder(dims: int, outputs: int, config: CryoFormerConfig) -> PointDecoder:
    """Make the decoder that ``config.decoder`` names."""
    return AttendingPoints(dims, outputs, config) if config.decoder == "transformer" else Layers(dims, outputs, config)


class StructureQueries(nn.Module):
    """Queries ``[b, queries, channels]`` that know the deformation of an image.

    Parameters
    ----------
    dims
        Size of the latents.
    config
        Number and width of the queries, number of blocks.
    """

    def __init__(self, dims: int, config: CryoFormerConfig) -> None:
        super().__init__()
        shape = (config.queries, config.channels)
        self.prototypes = nn.Parameter(_PROTOTYPES * torch.randn(shape))
        self.deformation = nn.Sequential(nn.Linear(dims, shape[0] * shape[1]), nn.Unflatten(1, shape))
        self.among = nn.ModuleList(SelfBlock(config.channels, _HEADS, feed_forward=False) for _ in range(config.blocks))
        self.to_deformation = nn.ModuleList(CrossBlock(config.channels, _HEADS) for _ in range(config.blocks))
        for part in self.modules():
            if isinstance(part, Attention):
                nn.init.xavier_uniform_(part.query.weight, _GAIN)
                nn.init.xavier_uniform_(part.out.weight)
                _start_keys_values(part.key_value)

    def forward(self, z: Float[Tensor, "b dims"]) -> Float[Tensor, "b queries channels"]:
        """Self-attention, attention to the deformation feature and a feed-forward layer, block by block."""
        deformation = self.deformation(z)
        found = self.prototypes.expand(len(z), -1, -1)
        for among, to_deformation in zip(self.among, self.to_deformation):
            found = to_deformation(among(found), deformation)
        return found


class AttendingPoints(PointDecoder):
    """Points that attend to structure queries: ``readout(relu(U f + softmax(q(f) Kᵀ / √C) V))``.

    The values V and the share U f of the point's own features are made such that the first of the two layers of the
    readout is part of them: no point is multiplied by it.

    Parameters
    ----------
    dims, outputs
        Size of the latents, numbers per point.
    config
        Queries, channels, blocks, features of a point.
    """

    def __init__(self, dims: int, outputs: int, config: CryoFormerConfig) -> None:
        super().__init__()
        width = config.channels
        self.queries = StructureQueries(dims, config)
        self.norm = nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * width)
        self.point = nn.Linear(config.features, 2 * width)
        nn.init.normal_(self.point.weight.data[:width], std=_ASKED)
        _start_keys_values(self.key_value)
        self.readout = nn.Linear(width, outputs)

    def forward(
        self, features: Float[Tensor, "b p features"], z: Float[Tensor, "b dims"]
    ) -> Float[Tensor, "b p outputs"]:
        """Attend and read out."""
        keys, values = self._keys_values(z)
        asked, own = self.point(features).chunk(2, -1)
        gathered = attend(asked[:, None], keys[:, None], values[:, None])[:, 0]
        return self.readout(F.relu(own + gathered))

    def attention(
        self, features: Float[Tensor, "b p features"], z: Float[Tensor, "b dims"]
    ) -> Float[Tensor, "b p queries"]:
        """How much of what each point gathers comes from each query; the sum over queries is 1."""
        keys, _ = self._keys_values(z)
        asked = self.point(features).chunk(2, -1)[0]
        return softmax(asked * keys.shape[-1] ** -0.5 @ keys.mT)

    def _keys_values(self, z: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.key_value(self.norm(self.queries(z))).chunk(2, -1)
        return keys, values


def _start_keys_values(layer: nn.Linear) -> None:
    keys, values = layer.weight.data.chunk(2)
    nn.init.xavier_uniform_(keys, _GAIN)
    nn.init.xavier_uniform_(values)


class Layers(PointDecoder):
    """Residual layers that see the features of a point beside the latent: what the paper compares its transformer with.

    Parameters
    ----------
    dims, outputs
        Size of the latents, numbers per point.
    config
        Width of the layers, features of a point.
    """

    def __init__(self, dims: int, outputs: int, config: CryoFormerConfig) -> None:
        super().__init__()
        self.network = ResidualMLP(config.features, outputs, width=config.channels, layers=_LAYERS, shared=dims)

    def forward(
        self, features: Float[Tensor, "b p features"], z: Float[Tensor, "b dims"]
    ) -> Float[Tensor, "b p outputs"]:
        """Return the last layer's numbers."""
        return self.network(features, z)
