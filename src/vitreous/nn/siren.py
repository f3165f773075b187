"""Networks with sines for activations (SIREN; Sitzmann et al. 2020, arXiv:2006.09661)."""

import math
from itertools import pairwise

from torch import Tensor, nn

from vitreous.typing import Float


class Siren(nn.Module):
    """Linear layers with sines between them: ``sin(ω(Wx + b))``, and a linear layer at the end.

    Weights are drawn as in section 3.2 of the paper, so that every layer's input has variance ½: uniform within
    ``±1/inputs`` in the first layer and within ``±√(6/width)/ω`` in the others.

    Parameters
    ----------
    inputs, outputs
        Lengths of what goes in and comes out.
    width
        Features of a layer.
    hidden
        Layers after the first one.
    omega
        ω.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int, hidden: int, omega: float = 30.0) -> None:
        super().__init__()
        self.omega = omega
        sizes = [inputs, *[width] * (hidden + 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        for number, layer in enumerate(self.layers):
            bound = 1 / inputs if number == 0 else math.sqrt(6 / width) / omega
            nn.init.uniform_(layer.weight, -bound, bound)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "*n inputs"]) -> Float[Tensor, "*n outputs"]:
        """Return the last layer's numbers."""
        *sines, last = self.layers
        for layer in sines:
            weight, bias = layer.parameters()
            x = nn.functional.linear(x, self.omega * weight, self.omega * bias).sin()
        return last(x)
