"""The built-in specimen: a protein-like assembly of four domains with one hinge, made from ideal secondary structure.

About 170 kDa and 150 Å long, without symmetry and chiral, so that it is a fair target for ab initio reconstruction.
Domains A (core), C (hinged arm) and D (knob) are bundles of α-helices, B is a sandwich of twisted β-sheets. Everything
follows from the tables below; there is no randomness.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.geometry.rotations import rotation_from_euler, rotation_from_vector
from vitreous.simulate.atoms import Atoms
from vitreous.typing import Float

HINGE_CHAINS = ("C",)
"""The domains that the hinge moves."""

HINGE_POINT_A = (-24.0, 16.0, 10.0)
"""A point on the hinge's axis, ``(x, y, z)``, at the joint of core and arm."""

HINGE_AXIS = (0.48, 0.0, 0.877)
"""Direction of the hinge's axis."""

MAX_HINGE_ANGLE_DEG = 40.0
"""The arm meets no other domain up to this angle either way."""

_B_A2 = 30.0
_GOLDEN = (math.sqrt(5) - 1) / 2

# Radius Å, angle °, height Å and element in an ideal right-handed α-helix (1.5 Å and 100° per residue, Cα at 2.3 Å);
# the atoms from the fifth on are the side chain, of which each residue takes a different number.
_HELIX_RESIDUE = (
    (1.55, -27.5, -0.90, "N"),
    (2.30, 0.0, 0.00, "C"),
    (1.68, 26.5, 1.10, "C"),
    (2.00, 22.0, 2.30, "O"),
    (3.30, 18.0, -0.80, "C"),
    (4.20, 30.0, -1.60, "C"),
    (5.20, 22.0, -1.90, "C"),
    (5.60, 36.0, -1.10, "O"),
    (6.00, 14.0, -2.50, "N"),
)
_HELIX_RISE_A, _HELIX_TURN_DEG, _HELIX_SPACING_A = 1.5, 100.0, 9.8

# x (across the sheet), y (off the sheet) and z (along the strand), Å, of an even residue of an extended strand;
# odd residues are turned by 180° about the strand.
_STRAND_RESIDUE = (
    (0.1, 0.3, -1.20, "N"),
    (0.0, 0.9, 0.00, "C"),
    (0.1, 0.3, 1.20, "C"),
    (1.6, 0.2, 1.40, "O"),
    (-0.5, 2.3, 0.10, "C"),
    (0.3, 3.5, 0.30, "C"),
    (-0.4, 4.7, -0.20, "C"),
    (0.6, 5.4, 0.50, "O"),
)
_STRAND_RISE_A, _STRAND_SPACING_A, _SHEET_SPACING_A, _STRAND_TWIST_DEG = 3.3, 4.8, 10.0, -12.0

_BACKBONE_ATOMS = 4
_SHORTEST_A = 9.0

Row = tuple[float, float, float, str]


@dataclass(frozen=True)
class _Domain:
    """An ellipsoid filled with helices or strands along its local z axis."""

    name: str
    fold: str
    centre_A: tuple[float, float, float]
    semi_axes_A: tuple[float, float, float]
    angles_deg: tuple[float, float, float]


_DOMAINS = (
    _Domain("A", "helices", (0.0, 0.0, 0.0), (31.0, 26.0, 41.0), (20.0, 75.0, 10.0)),
    _Domain("B", "sheets", (36.0, 9.0, -39.0), (25.0, 19.0, 32.0), (-60.0, 40.0, 25.0)),
    _Domain("C", "helices", (-46.0, 40.0, 20.0), (21.0, 17.0, 35.0), (135.0, 72.0, 30.0)),
    _Domain("D", "helices", (18.0, -39.0, 21.0), (18.0, 17.0, 22.0), (70.0, 25.0, -40.0)),
)


@dataclass(frozen=True)
class Phantom:
    """The specimen at one angle of its hinge.

    Attributes
    ----------
    hinge_angle_deg
        Turn of domain C about the hinge, right-handed about :data:`HINGE_AXIS`.
    """

    hinge_angle_deg: float = 0.0

    def __post_init__(self) -> None:
        """Refuse angles at which domains would collide."""
        if not abs(self.hinge_angle_deg) <= MAX_HINGE_ANGLE_DEG:
            raise ConfigError(
                "the phantom's hinge cannot turn so far",
                expected=f"at most {MAX_HINGE_ANGLE_DEG:g}° either way",
                found=f"{self.hinge_angle_deg:g}°",
                remedy="Give smaller --hinge-angles",
            )

    def atoms(self) -> Atoms:
        """Build the atoms; the domain's name is their chain."""
        parts = [(domain.name, *_build(domain)) for domain in _DOMAINS]
        element = np.concatenate([symbols for _, symbols, _ in parts])
        rest = Atoms(
            element=element,
            xyz_A=torch.cat([xyz for _, _, xyz in parts]),
            b_A2=torch.full((len(element),), _B_A2, dtype=torch.float64),
            occupancy=torch.ones(len(element), dtype=torch.float64),
            chain=np.concatenate([np.full(len(symbols), name) for name, symbols, _ in parts]),
        )
        moving = rest.in_chains(HINGE_CHAINS)
        return turn(rest, moving, HINGE_POINT_A, HINGE_AXIS, angle_deg=self.hinge_angle_deg)


def turn(
    atoms: Atoms,
    moving: Tensor,
    point_A: tuple[float, float, float],
    axis: tuple[float, float, float],
    *,
    angle_deg: float,
) -> Atoms:
    """Turn the atoms where ``moving`` is true about an axis through a point, right-handed."""
    direction = torch.tensor(axis, dtype=torch.float64)
    vector = direction / direction.norm() * math.radians(angle_deg)
    R = rotation_from_vector(vector[None])[0]
    point = torch.tensor(point_A, dtype=torch.float64)
    turned = (atoms.xyz_A - point) @ R.T + point
    return atoms.at(torch.where(moving[:, None], turned, atoms.xyz_A))


def _build(domain: _Domain) -> tuple[NDArray[Any], Float[Tensor, "n 3"]]:
    rows = _helices(domain.semi_axes_A) if domain.fold == "helices" else _sheets(domain.semi_axes_A)
    x, y, z, symbols = zip(*rows)
    local = torch.tensor([x, y, z], dtype=torch.float64).T
    R = rotation_from_euler(torch.tensor([domain.angles_deg], dtype=torch.float64))[0]
    return np.array(symbols), local @ R.T + torch.tensor(domain.centre_A, dtype=torch.float64)


def _line_ends(x: float, y: float, semi_axes_A: tuple[float, float, float], number: int) -> tuple[float, float] | None:
    """Ends on z of the line through (x, y) inside the ellipsoid, shortened by amounts that differ from line to line."""
    a, b, c = semi_axes_A
    inside = 1 - (x / a) ** 2 - (y / b) ** 2
    if inside <= 0:
        return None
    half = c * math.sqrt(inside)
    low, high = -half + 6 * (number * _GOLDEN % 1), half - 6 * (number * _GOLDEN**2 * 3 % 1)
    return (low, high) if high - low >= _SHORTEST_A else None


def _side_chain_atoms(number: int, most: int) -> int:
    return int((number * _GOLDEN % 1) * (most + 1))


def _helices(semi_axes_A: tuple[float, float, float]) -> Iterator[Row]:
    """Helices on a hexagonal lattice, neighbours antiparallel."""
    line = residue = 0
    for i in range(-5, 6):
        for j in range(-5, 6):
            x, y = _HELIX_SPACING_A * (i + j / 2), _HELIX_SPACING_A * j * math.sqrt(0.75)
            ends = _line_ends(x, y, semi_axes_A, line := line + 1)
            if ends is None:
                continue
            way = 1 if (i - j) % 2 == 0 else -1
            for step in range(int((ends[1] - ends[0]) / _HELIX_RISE_A)):
                residue += 1
                count = _BACKBONE_ATOMS + 1 + _side_chain_atoms(residue, len(_HELIX_RESIDUE) - _BACKBONE_ATOMS - 1)
                for radius, angle, height, symbol in _HELIX_RESIDUE[:count]:
                    turn_rad = math.radians(angle + _HELIX_TURN_DEG * step + 37 * line)
                    u, v = radius * math.cos(turn_rad), radius * math.sin(turn_rad)
                    z = height + _HELIX_RISE_A * step
                    yield x + u, y + way * v, (ends[0] if way > 0 else ends[1]) + way * z, symbol


def _sheets(semi_axes_A: tuple[float, float, float]) -> Iterator[Row]:
    """Layers of twisted sheets, neighbouring strands antiparallel."""
    line = residue = 0
    for layer in range(-2, 3):
        for strand in range(-6, 7):
            x, y = _STRAND_SPACING_A * strand, _SHEET_SPACING_A * (layer + 0.25)
            ends = _line_ends(x, y, semi_axes_A, line := line + 1)
            if ends is None:
                continue
            way = 1 if strand % 2 == 0 else -1
            twist = math.radians(_STRAND_TWIST_DEG * strand)
            for step in range(int((ends[1] - ends[0]) / _STRAND_RISE_A)):
                residue += 1
                flip = 1 if step % 2 == 0 else -1
                count = _BACKBONE_ATOMS + _side_chain_atoms(residue, len(_STRAND_RESIDUE) - _BACKBONE_ATOMS)
                for across, off, along, symbol in _STRAND_RESIDUE[:count]:
                    z = way * (along + _STRAND_RISE_A * (step + 0.5)) + (ends[0] if way > 0 else ends[1])
                    # flip · way keeps every residue of the same hand: x → flip·x, y → flip·y and (x, z) → way·(x, z)
                    u, v = flip * way * across, flip * off
                    yield (
                        x + u,
                        y + v * math.cos(twist) - z * math.sin(twist),
                        v * math.sin(twist) + z * math.cos(twist),
                        symbol,
                    )
