"""What training costs: the points that a decoder is asked for, and what is kept in memory, as it was measured."""

import math

from vitreous.methods.cryodrgn.config import CryoDrgnConfig

BYTES_PER_PARAMETER = 28.0
"""With gradient, Adam's moments, and the copies that are made of it."""

_BYTES_PER_ACTIVATION = 8.0
_MAP_COPIES = 5
"""Of the padded transforms of a basis: with gradient, moments and scratch."""


def parameters_of_layers(ends: float, *, width: int, layers: int) -> float:
    """Weights of a residual network with so many inputs and outputs together."""
    return width * (ends + layers * width)


def points_per_image(box: int) -> float:
    """Coefficients of half a disc, for which a decoder is asked."""
    return math.pi * box**2 / 8


def points_per_map(box: int) -> float:
    """Coefficients of half a ball."""
    return math.pi * box**3 / 12


def training_bytes(box: int, dims: int, config: CryoDrgnConfig) -> float:
    """Return what the networks and a batch take, without the images and without an encoder's principal maps."""
    pixels = points_per_image(box)
    encoder = {"width": config.encoder_width, "layers": config.encoder_layers}
    parameters = parameters_of_layers(2.0 * (pixels + dims), **encoder)
    if config.decoder == "basis":
        maps = 1 + (config.basis_maps or dims)
        parameters += config.encoder_width * (dims + config.encoder_width + config.basis_maps)
        of_basis = _MAP_COPIES * 8.0 * maps * (2 * box + 1) ** 2 * (box + 1)
        return BYTES_PER_PARAMETER * parameters + of_basis
    decoder = {"width": config.decoder_width, "layers": config.decoder_layers}
    parameters += parameters_of_layers(3.0 * box + dims + 2, **decoder)
    activations = config.batch * pixels * config.decoder_width * (3 + config.decoder_layers)
    return BYTES_PER_PARAMETER * parameters + _BYTES_PER_ACTIVATION * activations


def expander_bytes(dims: int, width: int) -> float:
    """Return what the layers that compare latents of views take."""
    return BYTES_PER_PARAMETER * width * (dims + 2.0 * width)
