"""Contrast-transfer parameters, one value per particle."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vitreous.typing import Float, Int


@dataclass(frozen=True)
class Optics:
    """CTF parameters of n particles (each a tensor ``[n]``, float64 but for ``group``).

    Attributes
    ----------
    voltage_kV, cs_mm, amplitude_contrast
        Acceleration voltage, spherical aberration, share of amplitude contrast (0–1).
    defocus_u_A, defocus_v_A, defocus_angle_deg
        Defocus (positive = underfocus) along the two axes, and the angle of the u axis from x towards y.
    phase_shift_deg
        Phase plate.
    bfactor_A2
        B of the envelope ``exp(−B·s²/4)``.
    group
        Index of the optics group of each particle, from 0.
    group_names
        Name of each optics group.
    """

    voltage_kV: Float[Tensor, " n"]
    cs_mm: Float[Tensor, " n"]
    amplitude_contrast: Float[Tensor, " n"]
    defocus_u_A: Float[Tensor, " n"]
    defocus_v_A: Float[Tensor, " n"]
    defocus_angle_deg: Float[Tensor, " n"]
    phase_shift_deg: Float[Tensor, " n"]
    bfactor_A2: Float[Tensor, " n"]
    group: Int[Tensor, " n"]
    group_names: tuple[str, ...] = ("opticsGroup1",)

    def __post_init__(self) -> None:
        """Refuse arrays of different length."""
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self) if f.name != "group_names"}
        if len(set(lengths.values())) != 1:
            message = f"optics arrays differ in length: {lengths}"
            raise ValueError(message)

    def __len__(self) -> int:
        return len(self.group)

    def select(self, indices: Tensor) -> "Optics":
        """Return the optics of some particles."""
        picked = {f.name: getattr(self, f.name)[indices] for f in fields(self) if f.name != "group_names"}
        return replace(self, **picked)

    @staticmethod
    def without_ctf(n: int) -> "Optics":
        """Optics whose CTF is 1 everywhere: images that carry no CTF."""
        zero = torch.zeros(n, dtype=torch.float64)
        return Optics(
            voltage_kV=torch.full_like(zero, 300.0),
            cs_mm=zero,
            amplitude_contrast=torch.ones_like(zero),
            defocus_u_A=zero,
            defocus_v_A=zero,
            defocus_angle_deg=zero,
            phase_shift_deg=zero,
            bfactor_A2=zero,
            group=torch.zeros(n, dtype=torch.int64),
        )
