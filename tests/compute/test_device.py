import pytest
import torch

from vitreous.compute.device import resolve_device
from vitreous.errors import ConfigError, ResourceError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have some GPUs and a build of PyTorch."""

    def pretend(gpus, cuda="12.4"):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return pretend


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "CUDA:1", "cuda:1"),
    ],
)
def test_names(machine, gpus, name, device):
    machine(gpus)
    assert resolve_device(name) == torch.device(device)


def test_what_is_not_there_is_refused(machine):
    machine(1)
    with pytest.raises(ResourceError, match=r"there is no GPU 3 \(expected cuda:0 to cuda:0, found cuda:3\)"):
        resolve_device("cuda:3")
    machine(0)
    with pytest.raises(ResourceError, match=r"no usable GPU\. Use --device cpu.*nvidia-smi"):
        resolve_device("cuda")
    machine(0, cuda=None)
    with pytest.raises(ResourceError, match=r"built without CUDA.*Use --device cpu"):
        resolve_device("cuda:0")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "tpu", "", "cuda 1"])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match=r"unknown --device .*expected auto, cpu, cuda or cuda:N"):
        resolve_device(name)
