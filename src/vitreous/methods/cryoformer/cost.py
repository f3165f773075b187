"""What rendering costs, in products of two numbers."""

import math

from vitreous.methods.cryoformer.config import CryoFormerConfig

_POSITIONAL = 3 * 256**2
"""Products of the large network behind the positional encoding, but for its first layer."""

_READ = 60
"""Products in the time of one random read of a table with its share of the gradient's write."""


_PARTS = 100
"""Of a training, at which its box is asked."""


def points_per_image(box: int, config: CryoFormerConfig) -> float:
    """Points that the networks are asked for to render an image: voxels of the ball, or coefficients of half a disc."""
    if config.domain == "fourier":
        return math.pi * box**2 / 8
    return 4 / 3 * math.pi * (config.radius * box / 2) ** 3


def products_per_point(config: CryoFormerConfig) -> int:
    """Products of the forward pass at a point; reads of the hash grid are counted by the time that they take."""
    levels, width = config.levels, config.channels
    if config.encoding == "positional":
        features = _POSITIONAL
    else:
        features = 8 * levels * (_READ + config.level_features) + levels * config.level_features * config.features
    if config.decoder == "mlp":
        return features + config.features * width + 2 * width**2 + width
    return features + 2 * config.features * width + 2 * config.queries * width + width


def training_products(particles: int, box: int, config: CryoFormerConfig) -> float:
    """Products of a training, forward and backward, with boxes as they grow."""
    points = [points_per_image(config.box_at(part / _PARTS, box), config) for part in range(_PARTS)]
    return 3 * particles * config.epochs * sum(points) / _PARTS * products_per_point(config)
