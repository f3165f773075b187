"""Checkpoints come back bit by bit, or are refused by name."""

import pytest
import torch

from vitreous.errors import ConfigError, InputError
from vitreous.runs.checkpoint import Checkpointer, changed_options, identity_of, load_any
from vitreous.runs.manifest import InputFile

INPUT = InputFile("/data/a.star", 10, "2026-01-01T00:00:00+00:00", "abc", "whole file")
CONFIG = {"stack": "a.star", "output": "run", "search": {"symmetry": "C1"}, "common": {"threads": 2, "device": "cpu"}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def test_nothing_to_load(path):
    assert Checkpointer(path, {}).load() is None


def test_state_comes_back_exactly(path, generator):
    tensors = {
        "half": torch.randn(3, 4, generator=generator).half(),
        "complex": torch.randn(5, dtype=torch.complex64, generator=generator),
        "rng": generator.get_state(),
        "view": torch.arange(6.0).reshape(2, 3).T,
        "empty": torch.empty(0),
        "step": torch.tensor(3),
    }
    values = {"rate": 0.1 + 0.2, "name": "ä", "none": None, "list": [1, 2.5e-300]}
    store = Checkpointer(path, identity_of(CONFIG, [INPUT]))
    store.save(tensors, values)
    found, plain = store.load()
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    assert plain == values
    expected = torch.rand(4, generator=generator)
    generator.set_state(found["rng"])
    assert torch.equal(torch.rand(4, generator=generator), expected)


def test_failed_save_keeps_the_last_one(path, monkeypatch):
    store = Checkpointer(path, {})
    store.save({"a": torch.ones(1)}, {})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitreous.io.tensors.save_file", full)
    with pytest.raises(Exception, match="full"):
        store.save({"a": torch.zeros(1)}, {})
    assert store.load()[0]["a"].item() == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("config", "inputs", "key"),
    [
        (CONFIG | {"search": {"symmetry": "C2"}}, [INPUT], "config.search.symmetry"),
        (CONFIG | {"more": 1}, [INPUT], "config.more"),
        (CONFIG, [], "input /data/a.star"),
        (CONFIG, [InputFile("/data/a.star", 10, "", "abd", "whole file")], "input /data/a.star"),
    ],
)
def test_other_options_or_inputs_are_refused_by_name(path, config, inputs, key):
    Checkpointer(path, identity_of(CONFIG, [INPUT])).save({}, {})
    with pytest.raises(ConfigError, match=f"--resume: {key} differs"):
        Checkpointer(path, identity_of(config, inputs)).load()


def test_place_and_speed_may_change(path):
    Checkpointer(path, identity_of(CONFIG, [INPUT])).save({}, {})
    moved = CONFIG | {"output": "elsewhere", "common": {"threads": 8, "device": "cuda"}}
    assert Checkpointer(path, identity_of(moved, [INPUT])).load() is not None


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_damaged_file_is_an_input_error(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError):
        Checkpointer(path, {}).load()


def test_foreign_safetensors_is_an_input_error(path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="not a checkpoint"):
        Checkpointer(path, {}).load()


def test_changed_options_are_those_that_both_know():
    other = CONFIG | {"search": {"symmetry": "C2"}, "new": 1, "output": "b", "common": {"threads": 4, "device": "cuda"}}
    assert changed_options(CONFIG, other) == {"search.symmetry": ("C1", "C2")}
    assert changed_options(CONFIG, other, ["search.symmetry"]) == {}


def test_any_checkpoint_tells_its_identity(path):
    assert load_any(path) is None
    Checkpointer(path, {"network": "x"}).save({"a": torch.ones(1)}, {"step": 3})
    tensors, values, identity = load_any(path)
    assert (tensors["a"].item(), values, identity) == (1, {"step": 3}, {"network": "x"})
