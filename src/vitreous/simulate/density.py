"""Atoms to electron-scattering density.

The transform of a model is ``F(k) = Σ occ · f(s) · exp(−B s²/4) · exp(−2πi k·r)`` with gemmi's five-Gaussian electron
scattering factors ``f`` (International Tables C, table 4.3.2.2). It is computed in Fourier space, so that nothing
aliases: point sums by non-uniform FFT with a Kaiser–Bessel kernel (Beatty, Nishimura & Pauly 2005,
doi:10.1109/TMI.2005.848376), one sum per node of an expansion of the radial factors, which all are sums of
exponentials in ``s²/4``. Their number depends on the range of B and on the resolution only, not on the atoms.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import gemmi
import numpy as np
import torch
from torch import Tensor

from vitreous.data import Volume
from vitreous.errors import ConfigError
from vitreous.fourier.frequencies import half_space_radii
from vitreous.fourier.transform import irfft3_centred
from vitreous.simulate.atoms import Atoms
from vitreous.simulate.kernels import spread_kernel
from vitreous.typing import Complex, Float

_KERNEL_WIDTH = 6
_OVERSAMPLING = 2
_KERNEL_BETA = math.pi * math.sqrt((_KERNEL_WIDTH / _OVERSAMPLING) ** 2 * (_OVERSAMPLING - 0.5) ** 2 - 0.8)
_EXPANSION_ERROR = 1e-5
_TABLE = 2001
_SOFT_EDGE = 0.1


@dataclass(frozen=True)
class DensityGrid:
    """Where and how finely a density is computed.

    Attributes
    ----------
    box
        Side of the map in voxels.
    voxel_size_A
        Side of a voxel in Å.
    resolution_A
        Low-pass filter: amplitudes are untouched below ``0.9 / resolution``, fall as a raised cosine, are ½ at
        ``1 / resolution`` and 0 from ``1.1 / resolution`` (and from Nyquist) on.
    extra_b_A2
        B added to that of every atom.
    """

    box: int
    voxel_size_A: float
    resolution_A: float
    extra_b_A2: float = 0.0

    def __post_init__(self) -> None:
        """Refuse grids that cannot hold the resolution."""
        if self.box < 8:
            raise ConfigError("--box is too small", expected="at least 8", found=self.box, remedy="Give a larger --box")
        if not self.voxel_size_A > 0:
            raise ConfigError(
                "--pixel-size must be positive", found=self.voxel_size_A, remedy="Give the pixel size in Å"
            )
        if self.resolution_A < 2 * self.voxel_size_A:
            raise ConfigError(
                "--resolution is finer than the pixels can carry",
                expected=f"at least {2 * self.voxel_size_A:g} Å",
                found=f"{self.resolution_A:g} Å",
                remedy="Give a coarser --resolution or a smaller --pixel-size",
            )

    @property
    def max_frequency_per_A(self) -> float:
        """Frequency from which on the density is zero."""
        return min((1 + _SOFT_EDGE) / self.resolution_A, 0.5 / self.voxel_size_A)


def soft_low_pass(s_per_A: Tensor, resolution_A: float) -> Tensor:
    """Amplitude of the low-pass filter that :class:`DensityGrid` describes."""
    ramp = (s_per_A * resolution_A - (1 - _SOFT_EDGE)) / (2 * _SOFT_EDGE)
    return (1 + torch.cos(math.pi * ramp.clamp(0, 1))) / 2


def radial_factors(atoms: Atoms, u_per_A2: Float[Tensor, " m"], extra_b_A2: float = 0.0) -> Float[Tensor, "n m"]:
    """``occ · f(s) · exp(−B s²/4)`` of every atom, in Å, at ``u = s²/4 = (sin θ/λ)²``."""
    symbols, kind = np.unique(atoms.element, return_inverse=True)
    coefficients = [gemmi.Element(str(symbol)).c4322 for symbol in symbols]
    table = torch.tensor([[c.a, c.b] for c in coefficients], dtype=torch.float64)[torch.from_numpy(kind)]
    a, b = table[:, 0] * atoms.occupancy[:, None], table[:, 1] + (atoms.b_A2 + extra_b_A2)[:, None]
    return torch.stack([(a * torch.exp(-b * u)).sum(1) for u in u_per_A2], 1)


@lru_cache(maxsize=8)
def _expansion(b_max_A2: float, u_max: float) -> tuple[Float[Tensor, " m"], Float[Tensor, "m table"]]:
    """Nodes ``u_j`` and functions ``L_j`` with ``exp(−b u) = Σ_j exp(−b u_j) L_j(u)`` for all b up to ``b_max_A2``.

    The functions are tabulated on ``[0, u_max]``; the fewest nodes that keep the error below 1e-5 are taken.
    """
    b = torch.linspace(0, b_max_A2, 257, dtype=torch.float64)
    wanted = torch.exp(-b[:, None] * torch.linspace(0, u_max, _TABLE, dtype=torch.float64))
    for m in range(2, 64):
        nodes = u_max / 2 * (1 - torch.cos(torch.linspace(0, math.pi, m, dtype=torch.float64)))
        known = torch.exp(-b[:, None] * nodes)
        functions = torch.linalg.lstsq(known, wanted, rcond=1e-9, driver="gelsd").solution
        if float((known @ functions - wanted).abs().max()) < _EXPANSION_ERROR:
            break
    return nodes, functions


def _interpolate(table: Float[Tensor, " table"], at: Tensor) -> Tensor:
    """Read a table over [0, 1] linearly."""
    position = at.clamp(0, 1) * (_TABLE - 1)
    low = position.long().clamp_max(_TABLE - 2)
    return torch.lerp(table[low], table[low + 1], (position - low).to(table))


def _kernel(distance: Tensor) -> Tensor:
    inside = (1 - (2 * distance / _KERNEL_WIDTH) ** 2).clamp_min(0)
    return torch.special.i0(_KERNEL_BETA * inside.sqrt())


def _kernel_transform(frequency: Tensor) -> Tensor:
    root = torch.sqrt(_KERNEL_BETA**2 - (math.pi * _KERNEL_WIDTH * frequency) ** 2)
    return _KERNEL_WIDTH * torch.sinh(root) / root


class _PointSums:
    """``Σ_i v_i exp(−2πi k·r_i)`` on the half space of a box, for several sets of values at the same points."""

    def __init__(self, positions_boxes: Float[Tensor, "n 3"], box: int) -> None:
        self.box, self.size = box, _OVERSAMPLING * box
        cells = positions_boxes * self.size
        start = torch.ceil(cells - _KERNEL_WIDTH / 2)
        offsets = torch.arange(_KERNEL_WIDTH, dtype=torch.float64)
        weights = _kernel((cells - start)[..., None] - offsets)
        self.start, self.weights = start.long().remainder(self.size).numpy(), weights.float().numpy()

    def __call__(self, values: Float[Tensor, " n"]) -> Complex[Tensor, "z y half_x"]:
        """Return the transform; axes are cropped one by one to hold as little as possible in memory."""
        grid = torch.zeros(self.size, self.size, self.size)
        spread_kernel(self.start, self.weights, values.float().numpy(), grid.numpy())
        k = torch.fft.fftfreq(self.box, 1 / self.box, dtype=torch.float64).round()
        half = torch.arange(self.box // 2 + 1, dtype=torch.float64)
        out = torch.fft.rfft(grid, dim=2)[..., : len(half)] / _kernel_transform(half / self.size).float()
        correction = 1 / _kernel_transform(k / self.size).float()
        for dim, shape in ((1, (-1, 1)), (0, (-1, 1, 1))):
            out = torch.fft.fft(out, dim=dim).index_select(dim, k.long().remainder(self.size))
            out = out * correction.reshape(shape)
        return out


def density_transform(atoms: Atoms, grid: DensityGrid, centre_A: Float[Tensor, "3"]) -> Complex[Tensor, "z y half_x"]:
    """Centred half-space transform of the density (without low-pass filter) inside the sphere that ``grid`` keeps.

    Unfiltered coefficients are in Å: ``F(0)`` is the sum of the atoms' ``f(0)``. Coefficients at and beyond
    :attr:`DensityGrid.max_frequency_per_A` are zero.
    """
    s = half_space_radii(grid.box) / (grid.box * grid.voxel_size_A)
    s_max = grid.max_frequency_per_A
    u_max = s_max**2 / 4
    b_max = float(atoms.b_A2.max()) + grid.extra_b_A2 + _largest_width(atoms)
    nodes, functions = _expansion(b_max, u_max)
    factors = radial_factors(atoms, nodes, grid.extra_b_A2)
    sums = _PointSums((atoms.xyz_A - centre_A) / (grid.box * grid.voxel_size_A), grid.box)
    total = torch.zeros(s.shape, dtype=torch.complex64)
    inside = (s / s_max) ** 2
    for values, function in zip(factors.T, functions.float()):
        total += sums(values) * _interpolate(function, inside)
    return total * (s < s_max)


def _largest_width(atoms: Atoms) -> float:
    return max(max(gemmi.Element(str(symbol)).c4322.b) for symbol in np.unique(atoms.element))


def atoms_to_density(atoms: Atoms, grid: DensityGrid, centre_A: Float[Tensor, "3"] | None = None) -> Volume:
    """Electron-scattering density of a model, in Å per Å³.

    Parameters
    ----------
    atoms
        The model.
    grid
        Box, voxel size and resolution.
    centre_A
        The point that comes to lie at voxel ``box // 2``; the centre of mass where it is not given. States of one
        specimen must share it, or motions become shifts.

    Raises
    ------
    ConfigError
        If the model does not fit into the box in every orientation.
    """
    centre = atoms.centre_of_mass_A if centre_A is None else centre_A.double()
    radius = float((atoms.xyz_A - centre).norm(dim=1).max())
    if 2 * radius > grid.box * grid.voxel_size_A:
        raise ConfigError(
            "the structure does not fit into the box in every orientation",
            expected=f"a field of at least {2 * radius:.0f} Å",
            found=f"{grid.box * grid.voxel_size_A:.0f} Å ({grid.box} px of {grid.voxel_size_A:g} Å)",
            remedy=f"Give --box {math.ceil(2 * radius / grid.voxel_size_A / 16) * 16} or a larger --pixel-size",
        )
    s = half_space_radii(grid.box) / (grid.box * grid.voxel_size_A)
    filtered = density_transform(atoms, grid, centre) * soft_low_pass(s, grid.resolution_A)
    return Volume(irfft3_centred(filtered, grid.box) / grid.voxel_size_A**3, grid.voxel_size_A)
