"""Grey-scale PNG images from the standard library alone (PNG specification, W3C, third edition)."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode_png(grey: NDArray[np.uint8]) -> bytes:
    """Encode an image ``[y, x]`` of grey values, row 0 on top.

    Every row is stored as differences from the row above (filter 2), which suits smooth images.
    """
    height, width = grey.shape
    above = np.vstack([np.zeros((1, width), np.uint8), grey[:-1]])
    rows = np.hstack([np.full((height, 1), 2, np.uint8), grey - above])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def data_uri(grey: NDArray[np.uint8]) -> str:
    """Encode an image as a ``data:`` address for an ``<img>``."""
    return "data:image/png;base64," + base64.b64encode(encode_png(grey)).decode()


def to_grey(image: NDArray[np.float32], low_percent: float = 0.5, high_percent: float = 99.9) -> NDArray[np.uint8]:
    """Stretch grey values between two percentiles over 0 … 255; a flat image becomes black."""
    low, high = np.percentile(image, [low_percent, high_percent])
    if not high > low:
        return np.zeros(image.shape, np.uint8)
    return np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
