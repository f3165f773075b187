import pickle
import resource

import pytest
import torch
from safetensors.torch import load_file

from vitreous.errors import InputError, ResourceError
from vitreous.io.tensors import load_tensors, save_tensors


def test_tensors_and_metadata_read_back(tmp_path, generator):
    base = torch.randn(6, 4, generator=generator)
    tensors = {
        "view": base[:3],
        "same": base,
        "strided": base.T,
        "complex": torch.complex(base, -base),
        "counts": torch.arange(3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "parameter": torch.nn.Parameter(base),
        "empty": torch.zeros(0, 3),
    }
    save_tensors(tmp_path / "state.safetensors", tensors, {"step": "12", "unit": "Å"})
    again, metadata = load_tensors(tmp_path / "state.safetensors")
    assert metadata == {"step": "12", "unit": "Å"}
    assert set(again) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(again[name], tensor.detach())
        assert again[name].dtype == tensor.dtype
    assert torch.equal(load_file(tmp_path / "state.safetensors")["same"], base)


def test_files_without_metadata_read(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)})
    assert load_tensors(tmp_path / "a.safetensors")[1] == {}


@pytest.mark.parametrize("damage", ["truncated", "pickle", "empty", "text"])
def test_other_files_are_refused(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.ones(200)})
    contents = {
        "truncated": path.read_bytes()[:-100],
        "pickle": pickle.dumps({"a": 1}),
        "empty": b"",
        "text": b"tensor" * 100,
    }
    path.write_bytes(contents[damage])
    with pytest.raises(InputError, match=r"a\.safetensors: not a readable safetensors file"):
        load_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="file not found"):
        load_tensors(tmp_path / "a.safetensors")


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.ones(2)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ResourceError, match=r"a\.safetensors: cannot be written: the file is larger than"):
            save_tensors(path, {"a": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.equal(load_tensors(path)[0]["a"], torch.ones(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
    with pytest.raises(ResourceError, match="folder does not exist"):
        save_tensors(tmp_path / "nowhere" / "a.safetensors", {})
