"""What rendering costs: the points that the networks are asked for, and what training keeps in memory."""

import math

from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.features import ENCODED_LAYERS, ENCODED_WIDTH
from vitreous.methods.cryoformer.fields import POINTS_IN_MEMORY
from vitreous.methods.cryoformer.motion_maps import ATTENTION_BOX

_PARTS = 100
"""Of a training, at which its box is asked."""

_BYTES_PER_PARAMETER = 28.0
"""With gradient, Adam's moments, and the copies that are made of it; this and what follows was measured."""


def points_per_image(box: int, config: CryoFormerConfig) -> float:
    """Points that the networks are asked for to render an image: voxels of the ball, or coefficients of half a disc."""
    if config.domain == "fourier":
        return math.pi * box**2 / 8
    return 4 / 3 * math.pi * (config.radius * box / 2) ** 3


def training_points(particles: int, box: int, config: CryoFormerConfig) -> float:
    """Points of a whole training, with boxes as they grow."""
    points = [points_per_image(config.box_at(part / _PARTS, box), config) for part in range(_PARTS)]
    return particles * config.epochs * sum(points) / _PARTS


def training_bytes(box: int, dims: int, config: CryoFormerConfig) -> float:
    """Return what the networks, a batch and the attention maps take, without the images and the principal maps."""
    points = config.batch * points_per_image(box, config)
    if config.domain == "real":
        points = min(points, max(POINTS_IN_MEMORY, points / config.batch))
    queries = attention = 0.0
    if config.decoder == "transformer":
        queries = 8.0 * config.batch * config.queries * config.blocks * (2 * config.queries + 15 * config.channels)
        attention = 8.0 * config.queries * min(box, ATTENTION_BOX) ** 3
    parameters = _BYTES_PER_PARAMETER * _parameters(box, dims, config)
    return parameters + points * _bytes_per_point(box, config) + queries + attention


def _bytes_per_point(box: int, config: CryoFormerConfig) -> float:
    if config.encoding == "hash":
        encoded = config.levels * (100.0 + 20.0 * config.level_features)
    else:
        encoded = 8.0 * (6 * box + ENCODED_WIDTH * (1 + ENCODED_LAYERS))
    decoded = 12.0 * config.queries if config.decoder == "transformer" else 0.0
    return 1000.0 + encoded + decoded + 24.0 * config.channels + 12.0 * config.features


def _parameters(box: int, dims: int, config: CryoFormerConfig) -> float:
    width, layers, channels = config.encoder_width, config.encoder_layers, config.channels
    encoders = 2 if config.poses == "encoder" else 1
    encoder = width * (math.pi * box**2 / 4 + layers * width + 2.0 * dims)
    if config.encoding == "hash":
        outputs = config.levels * config.level_features
        encoded = outputs * (2.0**config.log2_entries + config.features)
    else:
        encoded = ENCODED_WIDTH * (3 * box + ENCODED_LAYERS * ENCODED_WIDTH + config.features)
    if config.decoder == "mlp":
        return encoders * encoder + encoded + channels * (config.features + dims + 2.0 * channels)
    decoder = config.queries * channels * (2.0 + dims) + 16.0 * config.blocks * channels**2
    return encoders * encoder + encoded + decoder + 2.0 * channels * (config.features + channels)
