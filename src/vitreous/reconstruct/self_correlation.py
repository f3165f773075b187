"""How well a map agrees with itself turned by the rotations of a point group."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.geometry.rotations import rotation_from_vector
from vitreous.geometry.symmetry import PointGroup
from vitreous.reconstruct.map_spectrum import MapSpectrum, half_ball
from vitreous.typing import Float, Rotations

_SHIFT_GRID = 24
_ROTATIONS_AT_ONCE = 128
_EVALUATIONS = 40


def best_shifts(
    spectrum: MapSpectrum, rotations: Rotations, radius: int
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
    """For each rotation W the shift τ with which ``W r + τ`` best maps a map on itself.

    Returns
    -------
    Sum over shells of √shell × FSC at the best shift of a grid, and that shift in boxes.
    """
    k, shell = half_ball(radius)
    values = spectrum.at(k[None])[0]
    power = torch.zeros(radius + 1).index_add_(0, shell, values.abs().square())
    reference = values.conj() * shell.sqrt() / power.clamp_min(1e-20)[shell]
    b = _SHIFT_GRID
    x, y, z = k.long().unbind(-1)
    scores, shifts = [], []
    for some in torch.split(rotations, _ROTATIONS_AT_ONCE):
        cube = torch.zeros(len(some), b, b, b // 2 + 1, dtype=values.dtype)
        cube[:, z % b, y % b, x] = (spectrum.at(k @ some) * reference).conj()  # k @ W holds the rows Wᵀ k
        best, flat = torch.fft.irfftn(cube, s=(b, b, b), dim=(1, 2, 3), norm="forward").flatten(1).max(1)
        index = torch.stack([flat % b, flat // b % b, flat // b**2], -1)
        scores.append(best / 2)
        shifts.append(((index + b // 2) % b - b // 2) / b)
    return torch.cat(scores), torch.cat(shifts)


class SelfCorrelation:
    """Mean FSC of a map with its mates under ``r → c + Qᵀ g Q (r − c)``, as a function of Q and c.

    With a reference, the FSC of that other map with the mates of the first.

    Parameters
    ----------
    spectrum
        The map.
    elements
        Rotations g of the point group, without the identity.
    radius
        Last shell.
    reference
        A map in the same frame; the map itself by default.
    """

    def __init__(
        self, spectrum: MapSpectrum, elements: PointGroup, radius: int, reference: MapSpectrum | None = None
    ) -> None:
        self.spectrum, self.elements, self.radius = spectrum, elements.float(), radius
        self.k, self.shell = half_ball(radius)
        values = (reference or spectrum).at(self.k[None])[0]
        self.reference = values.conj() / self._shell_sums(values.abs().square()[None])[0].sqrt()[self.shell]

    def _shell_sums(self, values: Float[Tensor, "g k"]) -> Float[Tensor, "g s"]:
        """Sums over shells ``0 … radius``, never zero."""
        return torch.full((len(values), self.radius + 1), 1e-20).index_add(1, self.shell, values)

    def curve(self, rotation: Float[Tensor, "3 3"], centre: Float[Tensor, " 3"]) -> Float[Tensor, " s"]:
        """FSC of shells ``0 … radius``, the mean over the mates."""
        return self.curves(rotation, centre).mean(0)

    def curves(self, rotation: Float[Tensor, "3 3"], centre: Float[Tensor, " 3"]) -> Float[Tensor, "g s"]:
        """FSC with each mate in shells ``0 … radius`` (shell 0 is 0); the centre is in boxes.

        The turned map has the transform ``exp(2πi (gᵀk − k)·c) F(gᵀk)``.
        """
        turned = self.k @ (rotation.T @ self.elements @ rotation)
        values = self.spectrum.at(turned)
        angle = 2 * math.pi * ((turned - self.k) @ centre)
        product = (values * self.reference * torch.polar(torch.ones_like(angle), angle)).real
        return self._shell_sums(product) / self._shell_sums(values.abs().square()).sqrt()

    def refine(
        self, rotation: Float[Tensor, "3 3"], centre: Float[Tensor, " 3"]
    ) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"], float]:
        """Climb to the nearest maximum (L-BFGS); the frame found and its mean FSC over the shells."""
        from scipy.optimize import minimize

        with torch.no_grad():
            first = self.curve(rotation, centre).clamp(0, 0.99)
        weight = torch.arange(self.radius + 1) ** 2 * (first + 0.01) / (1 - first.square())
        weight = weight / weight.sum()

        def moved(x: Tensor) -> tuple[Tensor, Tensor]:
            return rotation_from_vector(x[None, :3])[0] @ rotation, centre + x[3:] / 4

        def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            x = torch.tensor(values, dtype=torch.float32, requires_grad=True)
            out = -(self.curve(*moved(x)) * weight).sum()
            (slope,) = torch.autograd.grad(out, x)
            return out.item(), slope.double().numpy()

        end = minimize(loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxfun": _EVALUATIONS, "ftol": 1e-7})
        with torch.no_grad():
            better = moved(torch.tensor(end.x, dtype=torch.float32))
            return (*better, float(self.curve(*better)[1:].mean()))
