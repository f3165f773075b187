"""The second path of the E-step: correlations along rings, all in-plane angles of a direction at once.

A slice at in-plane angle φ is the one at angle 0 with its harmonics multiplied by ``e^{−imφ}``. So the cross terms of
an image with all in-plane angles of a direction are one discrete Fourier transform of ``Σ_ρ conj(d_{ρm})·p_{ρm}``,
products of the image's harmonics with those of one slice (:mod:`vitreous.reconstruct.ring_basis`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitreous.fourier.frequencies import Disc
from vitreous.physics.shifts import disc_phases
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.estep import images_per_chunk, scratch
from vitreous.reconstruct.ring_basis import RingBasis, ring_basis
from vitreous.typing import Complex, Float, Int


@dataclass(frozen=True)
class PoseGrid:
    """Directions times in-plane angles times shifts.

    Attributes
    ----------
    rotations
        In-plane angles run fastest, evenly spaced over the whole turn.
    inplane
        Number of in-plane angles.
    shifts_px
        The shifts.
    """

    rotations: Float[Tensor, "r 3 3"]
    inplane: int
    shifts_px: Float[Tensor, "t 2"]


@dataclass(frozen=True)
class RingReferences:
    """Slices of a map on a pose grid whose rotations are directions times in-plane angles.

    Attributes
    ----------
    rotations, shifts_px
        The grid: every rotation with every shift. In-plane angles run fastest.
    inplane
        Number of in-plane angles, J; even.
    basis
        The rings.
    transforms
        Those of the basis, on the device of the slices.
    harmonics
        Of every group of the basis, ``[2, 2h, directions]``: what gives the real and the imaginary part of the sum
        over the group's rings.
    turns
        Cosines and sines of all groups at the in-plane angles, ``[2·groups, J]``.
    slices
        On the disc, at the first half of the in-plane angles, ``[directions·J/2, k]``: half a turn conjugates them.
    power
        ``|P|²`` of these.
    phases
        ``exp(+2πi k·t / n)``, ``[t, k]``: moves an image's particle from t to the centre.
    """

    rotations: Float[Tensor, "r 3 3"]
    shifts_px: Float[Tensor, "t 2"]
    inplane: int
    basis: RingBasis
    transforms: tuple[Float[Tensor, "k _"], ...]
    harmonics: tuple[Float[Tensor, "2 _ d"], ...]
    turns: Float[Tensor, "g2 j"]
    slices: Complex[Tensor, "half k"]
    power: Float[Tensor, "half k"]
    phases: Complex[Tensor, "t k"]

    @staticmethod
    def of(volume: FourierVolume, grid: PoseGrid, disc: Disc, count: int) -> "RingReferences":
        """Slice a map on rings, inside the first ``count`` coefficients of a disc.

        Raises
        ------
        ValueError
            If the number of in-plane angles is odd.
        """
        rotations, inplane, shifts_px = grid.rotations, grid.inplane, grid.shifts_px
        basis = ring_basis(disc.box, count, inplane)
        transforms = tuple(transform.to(rotations.device) for transform in basis.transforms)
        spectra = _ring_harmonics(volume, rotations[::inplane].contiguous(), basis)
        grouped = [_of_group(spectra, group) for group in basis.groups]
        phi = _angles(rotations[:inplane])
        slices = _on_disc(grouped, basis, transforms, phi[: inplane // 2])
        return RingReferences(
            rotations,
            shifts_px,
            inplane,
            basis,
            transforms,
            tuple(_both_parts(group) for group in grouped),
            _turns(phi, len(grouped)),
            slices,
            torch.view_as_real(slices).square().sum(-1),
            disc_phases(-shifts_px, disc, count),
        )

    @staticmethod
    def joined(parts: "Sequence[RingReferences]") -> "RingReferences":
        """One set of the slices of several maps at the same shifts: class after class."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        rotations, slices, power = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("rotations", "slices", "power")
        )
        harmonics = tuple(torch.cat(group, 2) for group in zip(*(part.harmonics for part in parts), strict=True))
        return replace(first, rotations=rotations, slices=slices, power=power, harmonics=harmonics)

    @property
    def size(self) -> int:
        """Number of poses on the grid."""
        return len(self.rotations) * len(self.shifts_px)

    def images_per_chunk(self) -> int:
        """How many images are scored at a time."""
        return images_per_chunk(self.size, self.power.device)

    def cross(self, copies: Float[Tensor, "mt k2"], out: Float[Tensor, "mt r"]) -> None:
        """Write ``Re⟨copy, P⟩`` of every copy and rotation."""
        images, directions = len(copies), len(self.rotations) // self.inplane
        parts = copies.view(images, -1, 2).permute(2, 0, 1).contiguous()
        sums = scratch("rings", 2 * len(self.harmonics) * images * directions, copies)
        sums = sums.view(len(self.harmonics), 2, images, directions)
        for group, transform, harmonics, total in zip(
            self.basis.groups, self.transforms, self.harmonics, sums, strict=True
        ):
            of_images = parts[int(group[1, 0]) % 2] @ transform
            for part in (0, 1):
                torch.mm(of_images, harmonics[part], out=total[part])
        torch.mm(sums.flatten(2).flatten(0, 1).T, self.turns, out=out.view(-1, self.inplane))

    def norms(self, c2: Float[Tensor, "m k"]) -> Float[Tensor, "m r"]:
        """``⟨C², |P|²⟩`` of every image and rotation: a half turn leaves ``|P|²`` as it is, whatever C² is."""
        half = (c2 @ self.power.T).view(len(c2), -1, 1, self.inplane // 2)
        return half.expand(-1, -1, 2, -1).reshape(len(c2), -1)

    def slices_at(self, index: Int[Tensor, " m"]) -> Complex[Tensor, "m k"]:
        """Slices at some of the rotations."""
        direction, angle = torch.div(index, self.inplane, rounding_mode="floor"), index % self.inplane
        half = self.inplane // 2
        found = self.slices[direction * half + angle % half]
        return torch.where((angle >= half)[:, None], found.conj(), found)


def _ring_harmonics(
    volume: FourierVolume, directions: Float[Tensor, "d 3 3"], basis: RingBasis
) -> Complex[Tensor, "d rings m"]:
    """``p_m(ρ)`` of slices: half of each ring is sampled, the other half is its conjugate."""
    theta = 2 * math.pi / basis.angles * torch.arange(basis.angles // 2)
    kx, ky = (basis.radii[:, None] * wave for wave in (theta.cos(), theta.sin()))
    device = directions.device
    half = volume.sample(directions, kx.flatten().to(device), ky.flatten().to(device))
    half = half.view(len(directions), len(basis.radii), -1)
    return torch.fft.fft(torch.cat([half, half.conj()], 2), norm="forward")


def _of_group(spectra: Complex[Tensor, "d rings m"], group: Int[Tensor, "3 h"]) -> Complex[Tensor, "d h"]:
    """Harmonics of a group; those whose conjugate belongs to it, conjugated."""
    ring, m, sign = group.to(spectra.device)
    chosen = spectra[:, ring, m]
    return torch.complex(chosen.real, chosen.imag * sign)


def _both_parts(harmonics: Complex[Tensor, "d h"]) -> Float[Tensor, "2 h2 d"]:
    """What ``conj(d)·p`` takes of ``p``: real part ``d_r·p_r + d_i·p_i``, imaginary part ``d_r·p_i − d_i·p_r``."""
    real, imaginary = harmonics.real.T, harmonics.imag.T
    return torch.stack([torch.cat([real, imaginary]), torch.cat([imaginary, -real])]).contiguous()


def _angles(rotations: Float[Tensor, "j 3 3"]) -> Float[Tensor, " j"]:
    """In-plane angles of rotations with one viewing direction, from the first; the grid says which way it turns."""
    turned = (rotations @ rotations[0].T).double()
    return torch.atan2(turned[:, 1, 0], turned[:, 0, 0])


def _turns(phi: Float[Tensor, " j"], groups: int) -> Float[Tensor, "g2 j"]:
    """Matrix from the groups' sums G to in-plane angles, ``Re Σ_q G_q·e^{−iqφ}``."""
    angle = torch.arange(groups, dtype=phi.dtype, device=phi.device)[:, None] * phi
    return torch.stack([angle.cos(), angle.sin()], 1).flatten(0, 1).float()


def _on_disc(
    grouped: Sequence[Complex[Tensor, "d _"]],
    basis: RingBasis,
    transforms: Sequence[Float[Tensor, "k _"]],
    phi: Float[Tensor, " half"],
) -> Complex[Tensor, "dhalf k"]:
    """Slices on the disc, at in-plane angles: the very ones that the rings' sums are products with.

    Slices from elsewhere, with other errors, would not do: those of cross terms and norms cancel to first order at the
    true pose.
    """
    rows, count = len(grouped[0]) * len(phi), len(transforms[0])
    parts = torch.zeros(2, rows, count, device=phi.device)
    for number, (harmonics, transform) in enumerate(zip(grouped, transforms, strict=True)):
        turned = harmonics[:, None] * torch.exp(-1j * number * phi).to(harmonics.dtype)[:, None]
        flat = torch.cat([turned.real, turned.imag], 2).flatten(0, 1)
        parts[int(basis.groups[number][1, 0]) % 2].addmm_(flat, transform.T)
    return torch.complex(parts[0], parts[1])
