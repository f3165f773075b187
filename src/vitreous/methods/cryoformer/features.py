"""Features of points of the box: a hash grid with a small layer, or a positional encoding with a large network."""

import torch
from torch import Tensor, nn

from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.nn.hash_grid import HashGrid
from vitreous.nn.positional import PositionalEncoding
from vitreous.nn.residual_mlp import ResidualMLP
from vitreous.typing import Float

ENCODED_WIDTH, ENCODED_LAYERS = 256, 3
"""The large network, as wide and as deep as that of CryoDRGN here."""

_SPREAD = 0.5
"""Of the grid's features at the start: points must differ before they can attend to different queries."""


def make_features(box: int, config: CryoFormerConfig) -> nn.Module:
    """Make what ``config.encoding`` names: a module from points ``[…, 3]`` in [−1, 1]³ to ``[…, features]``."""
    if config.encoding == "positional":
        return EncodedPoints(box, config.features)
    finest = max(config.base, box) if config.finest is None else config.finest
    grid = HashGrid(
        levels=config.levels,
        features=config.level_features,
        log2_entries=config.log2_entries,
        base=config.base,
        finest=finest,
    )
    nn.init.uniform_(grid.table, -_SPREAD, _SPREAD)
    return nn.Sequential(grid, nn.Linear(grid.outputs, config.features), nn.ReLU())


class EncodedPoints(nn.Module):
    """Residual layers behind a Gaussian positional encoding.

    Parameters
    ----------
    box
        Side of the images in pixels.
    outputs
        Features of a point.
    """

    def __init__(self, box: int, outputs: int) -> None:
        super().__init__()
        self.encoding = PositionalEncoding(box)
        self.network = ResidualMLP(self.encoding.features, outputs, width=ENCODED_WIDTH, layers=ENCODED_LAYERS)

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n features"]:
        """Return features of points in [−1, 1]³."""
        with torch.autocast(points.device.type, enabled=False):
            encoded = self.encoding(points.float() / 2 @ self.encoding.vectors.T)
        return torch.relu(self.network(encoded))
