"""The contrast transfer function.

``CTF(g) = √(1 − w²)·sin χ + w·cos χ`` with ``χ = πλg²(Δf(θ) − ½λ²g²Cs) + φ``: positive at low frequency under
focus. ``Δf(θ) = ½(u + v) + ½(u − v)·cos 2(θ − θ_ast)`` (Rohou & Grigorieff 2015, doi:10.1016/j.jsb.2015.08.008,
with the opposite overall sign; RELION's images carry the sign used here).
"""

import math

import torch
from torch import Tensor

from vitreous.data import Optics
from vitreous.fourier.frequencies import half_plane_indices
from vitreous.typing import Float

# RELION's digits, with which published defoci were fitted: 6e-6 above CODATA's wavelength, a milliradian at 3 Å.
_REST_ENERGY_FACTOR = 0.978466e-6  # e / (2 m c²) in 1/V
_WAVELENGTH_FACTOR = 12.2643247  # h / √(2 m e) in Å·√V


def electron_wavelength_A(voltage_kV: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Relativistic wavelength of electrons in Å."""
    volts = voltage_kV * 1e3
    return _WAVELENGTH_FACTOR / torch.sqrt(volts + _REST_ENERGY_FACTOR * volts**2)


def _phase_coefficients(optics: Optics) -> Float[Tensor, "n 5"]:
    """Coefficients, in turns, of ``g²``, ``g²cos 2θ``, ``g²sin 2θ``, ``g⁴`` and 1 in ``χ + asin w``."""
    wavelength = electron_wavelength_A(optics.voltage_kV)
    mean = (optics.defocus_u_A + optics.defocus_v_A) / 2
    half = (optics.defocus_u_A - optics.defocus_v_A) / 2
    axis = 2 * torch.deg2rad(optics.defocus_angle_deg)
    constant = torch.deg2rad(optics.phase_shift_deg) + torch.asin(optics.amplitude_contrast)
    columns = [
        wavelength * mean / 2,
        wavelength * half * axis.cos() / 2,
        wavelength * half * axis.sin() / 2,
        -(wavelength**3) * optics.cs_mm * 1e7 / 4,
        constant / (2 * math.pi),
    ]
    return torch.stack(columns, -1)


def evaluate_ctf(
    optics: Optics, sx_per_A: Float[Tensor, "*grid"], sy_per_A: Float[Tensor, "*grid"]
) -> Float[Tensor, "n *grid"]:
    """CTF of every particle at the frequencies ``(sx, sy)`` in 1/Å, float32.

    The phase is a product of two small matrices, because it is linear in ``g²``, ``g²cos 2θ``, ``g²sin 2θ`` and
    ``g⁴``; and ``√(1 − w²)·sin χ + w·cos χ = sin(χ + asin w)`` needs one sine. Phases are kept in float64 until whole
    turns are removed. Differentiable in every optical parameter.
    """
    x, y = sx_per_A.reshape(-1).double(), sy_per_A.reshape(-1).double()
    g2 = x * x + y * y
    basis = torch.stack([g2, x * x - y * y, 2 * x * y, g2 * g2, torch.ones_like(g2)])
    turns = _phase_coefficients(optics).to(basis) @ basis
    ctf = torch.sin((turns - turns.detach().round()).float() * (2 * math.pi))
    if bool((optics.bfactor_A2 != 0).any()):
        ctf = ctf * torch.exp(-optics.bfactor_A2.to(g2)[:, None] * g2 / 4).float()
    return ctf.reshape(len(optics), *sx_per_A.shape)


def ctf_half_plane(optics: Optics, box: int, pixel_size_A: float) -> Float[Tensor, "n y half_x"]:
    """CTF on the half plane of :func:`vitreous.fourier.transform.rfft2_centred`."""
    kx, ky = half_plane_indices(box, optics.voltage_kV.device)
    scale = 1 / (box * pixel_size_A)
    return evaluate_ctf(optics, kx.double() * scale, ky.double() * scale)
