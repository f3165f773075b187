"""PNG files, decoded chunk by chunk as the specification says."""

import base64
import struct
import zlib

import numpy as np
import pytest

from vitreous.report.png import data_uri, encode_png, to_grey


def decode(png: bytes) -> np.ndarray:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        name, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack(">I", png[place + 8 + length : place + 12 + length])[0] == zlib.crc32(name + content)
        chunks.append((name, content))
        place += 12 + length
    assert [name for name, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    assert kind == [8, 0, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, width + 1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:].astype(int), axis=0) % 256


@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (64, 33)])
def test_pixels_come_back(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode_png(grey)), grey)


def test_data_uri_holds_the_file():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    head, _, body = data_uri(grey).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == encode_png(grey)


def test_grey_values_span_the_range_in_order():
    ramp = np.linspace(-3, 5, 400, dtype=np.float32).reshape(20, 20)
    grey = to_grey(ramp, 0.0, 100.0)
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert (np.diff(grey.ravel().astype(int)) >= 0).all()
    assert not to_grey(np.full((4, 4), 7, np.float32)).any()
