"""A residual multilayer perceptron of few, wide products."""

import torch
import torch.nn.functional as F  # noqa: N812  the name that torch's own documentation uses
from torch import Tensor, nn

from vitreous.typing import Float


class ResidualMLP(nn.Module):
    """Linear, ReLU, then ``layers`` times ``h → relu(h + W h + b)``, then linear (Zhong et al. 2021, CryoDRGN).

    The residual sum is part of the product, ``(W + 1) h + b``: one pass over the activations instead of two. In
    bfloat16 this rounds the diagonal of ``W`` as finely as the sum itself would be rounded.

    Parameters
    ----------
    inputs, outputs
        Sizes of the vectors.
    width, layers
        Size and number of the residual layers.
    shared
        Size of an input that all rows of a group share; its product with the first layer is made once per group.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int, layers: int, shared: int = 0) -> None:
        super().__init__()
        self.inputs = inputs
        self.first = nn.Linear(inputs + shared, width)
        self.blocks = nn.ModuleList(_Residual(width) for _ in range(layers))
        self.last = nn.Linear(width, outputs)

    def forward(
        self, rows: Float[Tensor, "*batch inputs"], shared: Float[Tensor, "groups z"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """Map rows ``[…, inputs]``; with ``shared``, they are ``[groups, rows, inputs]``."""
        if shared is None:
            h = self.first(rows.reshape(-1, self.inputs))
        else:
            weight, inputs = self.first.weight, self.inputs
            h = F.linear(rows, weight[:, :inputs])
            h += F.linear(shared, weight[:, inputs:], self.first.bias)[:, None]
        # Rows in one dimension from here on: F.linear of more returns a view, and autograd copies the whole gradient
        # of a view that is changed in place.
        h = F.relu(h, inplace=True).reshape(-1, h.shape[-1])
        for block in self.blocks:
            h = block(h)
        return self.last(h).reshape(*rows.shape[:-1], -1)


class _Residual(nn.Linear):
    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, h: Tensor) -> Tensor:
        identity = torch.eye(len(self.weight), dtype=self.weight.dtype, device=self.weight.device)
        return F.relu(F.linear(h, self.weight + identity, self.bias), inplace=True)
