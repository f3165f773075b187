"""The folded products are the written-out network."""

import pytest
import torch

from vitreous.nn.residual_mlp import ResidualMLP


def written_out(network: ResidualMLP, x: torch.Tensor) -> torch.Tensor:
    h = torch.relu(x @ network.first.weight.T + network.first.bias)
    for block in network.blocks:
        h = torch.relu(h + h @ block.weight.T + block.bias)
    return h @ network.last.weight.T + network.last.bias


def test_it_is_the_residual_network_forward_and_backward(generator) -> None:
    network = ResidualMLP(5, 3, width=16, layers=2).double()
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(network(x), written_out(network, x))
    found = torch.autograd.grad(network(x).square().sum(), list(network.parameters()))
    expected = torch.autograd.grad(written_out(network, x).square().sum(), list(network.parameters()))
    torch.testing.assert_close(found, expected)


def test_a_shared_input_is_the_same_as_a_repeated_one(generator) -> None:
    network = ResidualMLP(4, 2, width=8, layers=1, shared=3)
    rows, shared = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 3, generator=generator)
    repeated = torch.cat([rows, shared[:, None].expand(-1, 5, -1)], -1)
    torch.testing.assert_close(network(rows, shared), written_out(network, repeated))


def test_rows_of_several_dimensions_are_rows(generator) -> None:
    network = ResidualMLP(4, 2, width=8, layers=2)
    rows = torch.randn(3, 5, 6, 4, generator=generator)
    found = network(rows)
    assert found.shape == (3, 5, 6, 2)
    torch.testing.assert_close(found.reshape(-1, 2), network(rows.reshape(-1, 4)))
    torch.testing.assert_close(network(rows[0, 0, 0]), found[0, 0, 0])


@pytest.mark.parametrize("has_shared", [True, False])
def test_no_gradient_is_copied_for_what_is_done_in_place(generator, has_shared: bool) -> None:
    network = ResidualMLP(4, 2, width=8, layers=2, shared=3 if has_shared else 0)
    rows, shared = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 3, generator=generator)
    found = network(rows, shared) if has_shared else network(rows)
    seen, ahead = set(), [found.grad_fn]
    while ahead:
        node = ahead.pop()
        seen.add(type(node).__name__)
        ahead += [following for following, _ in node.next_functions if following is not None]
    assert "ReluBackward0" in seen
    assert "CopySlices" not in seen
