"""PNG files, decoded chunk by chunk as the specification says."""

import base64
import struct
import zlib

import numpy as np
import pytest

from vitreous.report.png import data_uri, encode_movie, encode_png, movie_uri, to_grey


def read_chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        name, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack(">I", png[place + 8 + length : place + 12 + length])[0] == zlib.crc32(name + content)
        chunks.append((name, content))
        place += 12 + length
    return chunks


def unpack(rows: bytes, height: int, width: int) -> np.ndarray:
    filtered = np.frombuffer(zlib.decompress(rows), np.uint8).reshape(height, width + 1)
    assert (filtered[:, 0] == 2).all()
    return np.cumsum(filtered[:, 1:].astype(int), axis=0) % 256


def decode(png: bytes) -> np.ndarray:
    chunks = read_chunks(png)
    assert [name for name, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    assert kind == [8, 0, 0, 0, 0]
    return unpack(chunks[1][1], height, width)


@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (64, 33)])
def test_pixels_come_back(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode_png(grey)), grey)


def test_frames_of_a_movie_come_back_in_order():
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    chunks = read_chunks(encode_movie(frames, 0.25))
    assert [name for name, _ in chunks] == [
        *(b"IHDR", b"acTL", b"fcTL", b"IDAT", b"fcTL", b"fdAT", b"fcTL", b"fdAT", b"IEND")
    ]
    assert struct.unpack(">II", chunks[1][1]) == (3, 0)
    numbers = [struct.unpack(">I", content[:4])[0] for name, content in chunks if name in {b"fcTL", b"fdAT"}]
    assert numbers == [0, 1, 2, 3, 4]
    controls = [struct.unpack(">IIIIIHHBB", content)[1:] for name, content in chunks if name == b"fcTL"]
    assert set(controls) == {(7, 5, 0, 0, 250, 1000, 0, 0)}
    data = [content if name == b"IDAT" else content[4:] for name, content in chunks if name in {b"IDAT", b"fdAT"}]
    for frame, rows in zip(frames, data, strict=True):
        np.testing.assert_array_equal(unpack(rows, 5, 7), frame)
    assert base64.b64decode(movie_uri(frames, 0.25).partition(",")[2]) == encode_movie(frames, 0.25)


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
