"""Grey-scale PNG images from the standard library alone (PNG specification, W3C, third edition)."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode_png(grey: NDArray[np.uint8]) -> bytes:
    """Encode an image ``[y, x]`` of grey values, row 0 on top.

    Every row is stored as differences from the row above (filter 2), which suits smooth images.
    """
    return _joined([(b"IHDR", _header(grey)), (b"IDAT", _rows(grey)), (b"IEND", b"")])


def encode_movie(frames: NDArray[np.uint8], seconds: float) -> bytes:
    """Encode images ``[frame, y, x]`` as one that moves for ever; ``seconds`` is how long each is seen.

    Animated PNG is part of the third edition; a reader that does not know it shows the first frame.
    """
    height, width = frames.shape[1:]
    chunks = [(b"IHDR", _header(frames[0])), (b"acTL", struct.pack(">II", len(frames), 0))]
    number = 0
    for index, frame in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, round(1000 * seconds), 1000, 0, 0)
        chunks.append((b"fcTL", control))
        number += 1
        if index == 0:
            chunks.append((b"IDAT", _rows(frame)))
        else:
            chunks.append((b"fdAT", struct.pack(">I", number) + _rows(frame)))
            number += 1
    return _joined([*chunks, (b"IEND", b"")])


def data_uri(grey: NDArray[np.uint8]) -> str:
    """Encode an image as a ``data:`` address for an ``<img>``."""
    return _address(encode_png(grey))


def movie_uri(frames: NDArray[np.uint8], seconds: float) -> str:
    """Encode a moving image as a ``data:`` address for an ``<img>``."""
    return _address(encode_movie(frames, seconds))


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _header(grey: NDArray[np.uint8]) -> bytes:
    height, width = grey.shape
    return struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)


def _rows(grey: NDArray[np.uint8]) -> bytes:
    height, width = grey.shape
    above = np.vstack([np.zeros((1, width), np.uint8), grey[:-1]])
    return zlib.compress(np.hstack([np.full((height, 1), 2, np.uint8), grey - above]).tobytes(), 9)


def _joined(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def to_grey(image: NDArray[np.float32], low_percent: float = 0.5, high_percent: float = 99.9) -> NDArray[np.uint8]:
    """Stretch grey values between two percentiles over 0 … 255; a flat image becomes black."""
    low, high = np.percentile(image, [low_percent, high_percent])
    if not high > low:
        return np.zeros(image.shape, np.uint8)
    return np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
