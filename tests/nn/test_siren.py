"""SIREN: its size, its formula, and the distribution that its initial weights are made for."""

import pytest
import torch

from vitreous.nn.siren import Siren


def test_it_is_sines_of_linear_layers() -> None:
    network = Siren(3, 2, width=8, hidden=1, omega=5.0)
    x = torch.randn(4, 3)
    (a, b, c), (p, q, r) = zip(*((layer.weight, layer.bias) for layer in network.layers))
    expected = torch.sin(5 * (torch.sin(5 * (x @ a.T + p)) @ b.T + q)) @ c.T + r
    torch.testing.assert_close(network(x), expected)


def test_every_layer_gives_the_next_one_sines_of_variance_one_half() -> None:
    torch.manual_seed(0)
    network = Siren(3, 2, width=256, hidden=4)
    x = 2 * torch.rand(2000, 3) - 1
    for layer in list(network.layers)[:-1]:
        x = torch.sin(30.0 * layer(x))
        assert float(x.detach().var()) == pytest.approx(0.5, abs=0.1)
