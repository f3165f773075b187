"""Atomic models as plain arrays."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.errors import ConfigError, InputError
from vitreous.typing import Bool, Float, PathLike

_PART = re.compile(r"(?P<chain>[^:]+)(:(?P<first>-?\d+)-(?P<last>-?\d+))?")


@dataclass(frozen=True)
class Atoms:
    """Atoms of one conformation.

    Attributes
    ----------
    element
        Chemical symbols, ``"C"``, ``"Mg"`` …
    xyz_A
        Positions ``(x, y, z)`` in Å, float64.
    b_A2
        Isotropic displacement factors B.
    occupancy
        0–1.
    chain
        Name of the chain (or, in the phantom, of the domain) of each atom.
    residue
        Number of each atom's residue in its chain, None where residues have no numbers.
    """

    element: NDArray[Any]
    xyz_A: Float[Tensor, "n 3"]
    b_A2: Float[Tensor, " n"]
    occupancy: Float[Tensor, " n"]
    chain: NDArray[Any]
    residue: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays of different length."""
        lengths = {len(self.element), len(self.xyz_A), len(self.b_A2), len(self.occupancy), len(self.chain)}
        if len(lengths) != 1:
            message = f"the arrays of an atomic model differ in length: {sorted(lengths)}"
            raise ValueError(message)

    def __len__(self) -> int:
        return len(self.element)

    def at(self, xyz_A: Float[Tensor, "n 3"]) -> "Atoms":
        """Return the same atoms at other positions."""
        return replace(self, xyz_A=xyz_A.double())

    def select(self, chosen: Bool[Tensor, " n"]) -> "Atoms":
        """Return the atoms where ``chosen`` is true."""
        rows = chosen.numpy()
        return Atoms(
            element=self.element[rows],
            xyz_A=self.xyz_A[chosen],
            b_A2=self.b_A2[chosen],
            occupancy=self.occupancy[chosen],
            chain=self.chain[rows],
            residue=None if self.residue is None else self.residue[rows],
        )

    def in_chains(self, names: tuple[str, ...]) -> Bool[Tensor, " n"]:
        """Tell which atoms belong to the chains ``names``; ``B:2-222`` are residues 2 to 222 of chain B.

        Raises
        ------
        ConfigError
            If a name is neither, or asks for residues where these have no numbers.
        """
        chosen = np.zeros(len(self), dtype=bool)
        for name in names:
            part = _PART.fullmatch(name)
            if part is None or (part["first"] is not None and self.residue is None):
                raise ConfigError(
                    f"the part {name!r} of a structure cannot be found",
                    expected="a chain, B, or residues of one in a structure file, B:2-222",
                    remedy="Name other chains",
                )
            inside = self.chain == part["chain"]
            if part["first"] is not None and self.residue is not None:
                inside &= (self.residue >= int(part["first"])) & (self.residue <= int(part["last"]))
            chosen |= inside
        return torch.from_numpy(chosen)

    def only(self, names: tuple[str, ...]) -> "Atoms":
        """Return the atoms of some chains; ConfigError, with the chains that there are, where there are none."""
        kept = self.in_chains(names)
        if not bool(kept.any()):
            raise ConfigError(
                "--chains must name some of the model's chains",
                expected=f"some of {', '.join(map(str, np.unique(self.chain)[:30]))}",
                found=", ".join(names),
                remedy="Name other chains",
            )
        return self.select(kept)

    def moving_part(self, names: tuple[str, ...]) -> Bool[Tensor, " n"]:
        """Tell which atoms a hinge turns; ConfigError, with the chains that there are, where it is none or all."""
        moving = self.in_chains(names)
        if not bool(moving.any()) or bool(moving.all()):
            raise ConfigError(
                "--hinge-chains must name some of the model's chains, but not all",
                expected=f"some of {', '.join(map(str, np.unique(self.chain)[:30]))}",
                found=", ".join(names) or "none",
                remedy="Name the chains that move",
            )
        return moving

    @property
    def masses_Da(self) -> Float[Tensor, " n"]:
        """Atomic weight times occupancy."""
        weights = {symbol: gemmi.Element(symbol).weight for symbol in np.unique(self.element)}
        return torch.tensor([weights[symbol] for symbol in self.element], dtype=torch.float64) * self.occupancy

    @property
    def centre_of_mass_A(self) -> Float[Tensor, "3"]:
        """Centre of mass ``(x, y, z)``."""
        mass = self.masses_Da
        return (mass[:, None] * self.xyz_A).sum(0) / mass.sum()


def read_atoms(path: PathLike, *, keep_waters: bool = False, assembly: str | None = None) -> Atoms:
    """Read the first model of a PDB or mmCIF file (``.gz`` allowed).

    Of alternative locations the one of highest occupancy is kept and carries the occupancy of all.

    Parameters
    ----------
    path
        ``.pdb``, ``.ent``, ``.cif`` or ``.mmcif``.
    keep_waters
        Keep water molecules.
    assembly
        Name of the biological assembly to build (``"1"``); None takes the deposited coordinates.

    Raises
    ------
    InputError
        If the file cannot be read, holds no atoms, or an atom has no position or no scattering factor.
    ConfigError
        If the file does not define ``assembly``.
    """
    structure = _read_structure(Path(path))
    if assembly is not None:
        _build_assembly(structure, assembly, path)
    if not keep_waters:
        structure.remove_waters()
    rows = list(_kept_atoms(structure[0])) if len(structure) else []
    if not rows:
        raise InputError(
            "the file holds no atoms", path=path, remedy="Give a PDB or mmCIF file with atomic coordinates"
        )
    atoms = _as_arrays(rows)
    check_atoms(atoms, path)
    return atoms


def _read_structure(path: Path) -> Any:
    if not path.is_file():
        raise InputError("no such structure file", path=path, remedy="Check the path, or simulate 'phantom'")
    try:
        return gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            "cannot be read as a structure",
            found=str(error),
            path=path,
            remedy="Give a PDB or mmCIF file, plain or gzipped",
        ) from error


def _build_assembly(structure: Any, name: str, path: PathLike) -> None:
    names = [assembly.name for assembly in structure.assemblies]
    if name not in names:
        raise ConfigError(
            f"--assembly {name} is not defined in {path}",
            expected=f"one of {', '.join(names)}" if names else "no assembly",
            remedy="Choose another, or leave --assembly out to take the deposited coordinates",
        )
    structure.transform_to_assembly(name, gemmi.HowToNameCopiedChain.AddNumber)


_Row = tuple[str, list[float], float, float, str, int]


def _kept_atoms(model: Any) -> Iterator[_Row]:
    """Yield (element, position, B, occupancy, chain, residue), one row per alternative location group."""
    for chain in model:
        groups: dict[tuple[int, str, str], list[Any]] = {}
        for residue in chain:
            number = residue.seqid.num
            for atom in residue:
                if atom.has_altloc():
                    groups.setdefault((number, str(residue.seqid), atom.name), []).append(atom)
                else:
                    yield atom.element.name, atom.pos.tolist(), atom.b_iso, atom.occ, chain.name, number
        for (number, *_), group in groups.items():
            best = max(group, key=lambda atom: atom.occ)
            occupancy = min(1.0, sum(atom.occ for atom in group))
            yield best.element.name, best.pos.tolist(), best.b_iso, occupancy, chain.name, number


def _as_arrays(rows: list[_Row]) -> Atoms:
    element, xyz, b, occupancy, chain, residue = zip(*rows)
    return Atoms(
        element=np.array(element),
        xyz_A=torch.tensor(xyz, dtype=torch.float64),
        b_A2=torch.tensor(b, dtype=torch.float64).clamp_min(0),
        occupancy=torch.tensor(occupancy, dtype=torch.float64),
        chain=np.array(chain),
        residue=np.array(residue, dtype=np.int64),
    )


def check_atoms(atoms: Atoms, path: PathLike) -> None:
    """Raise InputError where a position, the occupancies or an element make a density impossible."""
    if not bool(torch.isfinite(atoms.xyz_A).all()):
        raise InputError("an atom has no finite position", path=path, remedy="Repair or remove that atom")
    if not bool(atoms.occupancy.sum() > 0):
        raise InputError("all occupancies are zero", path=path, remedy="Set the occupancies of the atoms, usually to 1")
    kinds = {str(symbol): gemmi.Element(str(symbol)) for symbol in np.unique(atoms.element)}
    unknown = [symbol for symbol, kind in kinds.items() if kind.atomic_number == 0 or kind.c4322 is None]
    if unknown:
        raise InputError(
            f"no electron scattering factor for element {', '.join(unknown)}",
            path=path,
            remedy="Correct the element column of those atoms",
        )
