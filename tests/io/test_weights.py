"""Published weights come back to half precision with their card, and everything else is refused by name."""

import hashlib
import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from vitreous.errors import ConfigError, InputError
from vitreous.io.weights import WeightsCard, load_weights, save_weights, tensors_sha256

CARD = WeightsCard(
    name="fastar-test",
    architecture={"width": 64, "tokens": "lines", "dropout": 0.1 + 0.2, "stages": [1, 2]},
    licence="CC-BY-4.0",
    training_data="assemblies of the PDB, without homologues of the tests",
    steps=1000,
    images=32_000_000,
    hardware="2 cores, 150 minutes",
    figures={"median F-norm": 0.9},
    date="2026-11-21",
)


@pytest.fixture
def tensors(generator):
    return {
        "a.weight": torch.randn(40, 30, generator=generator),
        "a.view": torch.arange(6.0).reshape(2, 3).T,
        "b.double": torch.rand(3, dtype=torch.float64, generator=generator),
        "b.count": torch.tensor(123_456_789),
        "b.mask": torch.tensor([True, False]),
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize(("dtype", "half_step"), [("float16", 2.0**-11), ("float32", 2.0**-24)])
def test_round_trip(path, tensors, dtype, half_step):
    card = save_weights(path, tensors, CARD, dtype=dtype)
    found = load_weights(path, expected_sha256=card.sha256)
    assert found.card == card == replace(CARD, sha256=card.sha256)
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        kept = found.tensors[name]
        assert kept.shape == tensor.shape
        if tensor.is_floating_point():
            assert kept.dtype == torch.float32
            torch.testing.assert_close(kept.double(), tensor.double(), rtol=half_step, atol=half_step * 2.0**-14)
        else:
            assert kept.dtype == tensor.dtype
            assert torch.equal(kept, tensor)


def test_saving_what_was_loaded_changes_nothing(path, tensors):
    save_weights(path, tensors, CARD)
    before, loaded = path.read_bytes(), load_weights(path)
    save_weights(path, loaded.tensors, loaded.card)
    assert path.read_bytes() == before


def test_hash_is_over_names_shapes_and_bytes():
    """The digest written out by hand, with the bytes of 1.0 and −2.0 in little-endian float32."""
    expected = hashlib.sha256(
        b'"a" float32 [2]\n' + bytes.fromhex("0000803f000000c0") + b'"b" int64 []\n' + b"\1" + b"\0" * 7
    )
    tensors = {"b": torch.tensor(1), "a": torch.tensor([1.0, -2.0])}
    assert tensors_sha256(tensors) == expected.hexdigest()
    others = [
        tensors | {"a": torch.tensor([[1.0, -2.0]])},
        tensors | {"a": torch.tensor([1.0, 2.0])},
        {"b": torch.tensor(1), "c": torch.tensor([1.0, -2.0])},
    ]
    assert len({tensors_sha256(other) for other in [tensors, *others]}) == 4


def test_wrong_bytes_and_other_weights_are_refused(path, tensors):
    card = save_weights(path, tensors, CARD)
    with pytest.raises(
        InputError, match=r"other weights than asked for: fastar-test of 2026-11-21.*Name the right file"
    ):
        load_weights(path, expected_sha256="0" * 64)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for expected in (None, card.sha256):
        with pytest.raises(InputError, match=r"weights\.safetensors: .*damaged: wrong sha256.*again"):
            load_weights(path, expected_sha256=expected)


def test_truncated_and_missing_files_are_refused(path, tensors):
    with pytest.raises(InputError, match="file not found"):
        load_weights(path)
    save_weights(path, tensors, CARD)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_weights(path)


def rewrite_card(path, text):
    """Replace the card in the header of a safetensors file, which is JSON after eight bytes of its length."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {} if text is None else {"vitreous_weights": text}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda card: json.dumps(card | {"format_version": 2}), "version .* unknown .expected 1, found 2.*Install"),
        (lambda card: json.dumps({k: v for k, v in card.items() if k != "licence"}), "damaged or not complete"),
        (lambda card: json.dumps(card | {"colour": "red"}), "damaged or not complete"),
        (lambda card: json.dumps(card)[:-3], "card is damaged"),
        (lambda card: "[]", "card is damaged"),
        (lambda card: None, "no card.*not its checkpoint"),
    ],
)
def test_bad_cards_are_refused(path, tensors, edit, message):
    save_weights(path, tensors, CARD)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    card = json.loads(json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]["vitreous_weights"])
    rewrite_card(path, edit(card))
    with pytest.raises(InputError, match=message):
        load_weights(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_refused(path, value):
    bad = {"w": torch.tensor([1.0, value])}
    with pytest.raises(InputError, match="tensor w holds values that are not finite"):
        save_weights(path, bad, CARD)
    assert not path.exists()
    save_weights(path, {"w": torch.ones(2)}, CARD)
    card = json.dumps(CARD.__dict__ | {"sha256": tensors_sha256(bad)})
    save_file(bad, path, {"vitreous_weights": card})
    with pytest.raises(InputError, match="tensor w holds values that are not finite"):
        load_weights(path)


def test_values_beyond_half_precision_need_single(path):
    tensors = {"w": torch.tensor([1e5])}
    with pytest.raises(ConfigError, match=r"beyond float16.*Save them as float32"):
        save_weights(path, tensors, CARD)
    save_weights(path, tensors, CARD, dtype="float32")
    assert load_weights(path).tensors["w"].item() == 1e5


def test_twelve_million_parameters_fit_and_thirteen_do_not(path):
    save_weights(path, {"w": torch.zeros(12_000_000)}, CARD)
    assert path.stat().st_size <= 25_000_000
    before = path.stat().st_size
    with pytest.raises(ConfigError, match=r"too large.*at most 25000000 bytes.*smaller network"):
        save_weights(path, {"w": torch.zeros(13_000_000)}, CARD)
    assert path.stat().st_size == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": " "}, "says nothing about licence"),
        ({"figures": {"F-norm": float("nan")}}, "cannot be written as JSON"),
        ({"architecture": {"path": object()}}, "cannot be written as JSON"),
    ],
)
def test_poor_cards_are_not_written(path, tensors, changes, message):
    with pytest.raises(InputError, match=message):
        save_weights(path, tensors, replace(CARD, **changes))
    assert not path.exists()
