"""Structure files of a folder, with the date and the resolution that they report."""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, final

import gemmi

from vitreous.errors import InputError

_SUFFIXES = (".cif", ".mmcif", ".pdb", ".ent")
_DATE_TAGS = (
    "_pdbx_audit_revision_history.revision_date",
    "_database_PDB_rev.date",
    "_pdbx_database_status.recvd_initial_deposition_date",
)
"""Where an mmCIF file holds its dates, the first found counts; the earliest revision is the release."""


@final
@dataclass(frozen=True)
class Entry:
    """One structure file.

    Attributes
    ----------
    structure
        What gemmi read.
    released
        Release date ``YYYY-MM-DD``, the deposition date where the file has no other, empty where it has none.
    resolution_A
        Reported resolution, None where there is none.
    """

    structure: Any
    released: str
    resolution_A: float | None


def structure_files(folder: Path) -> list[Path]:
    """Return the PDB and mmCIF files (``.gz`` allowed) in a folder and below, by name."""
    return sorted(path for path in folder.rglob("*") if path.name.lower().removesuffix(".gz").endswith(_SUFFIXES))


def entry_name(path: Path) -> str:
    """Return the name of a structure: that of its file without the suffixes."""
    return Path(path.name.removesuffix(".gz")).stem


def read_entry(path: Path) -> Entry:
    """Read a structure file.

    Raises
    ------
    InputError
        Where it cannot be read or holds no model.
    """
    try:
        if path.name.lower().removesuffix(".gz").endswith((".cif", ".mmcif")):
            block = gemmi.cif.read(str(path))[0]
            structure, released = gemmi.make_structure_from_block(block), _date_of_block(block)
        else:
            structure = gemmi.read_pdb(str(path))
            released = _release_in_pdb(path) or dict(structure.info).get(_DATE_TAGS[-1], "")
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        raise _unreadable(path, str(error)) from error
    if not len(structure) or not len(structure[0]):
        raise _unreadable(path, "no atoms")
    return Entry(structure, released, structure.resolution if structure.resolution > 0 else None)


def _date_of_block(block: Any) -> str:
    for tag in _DATE_TAGS:
        dates = [gemmi.cif.as_string(value) for value in block.find_values(tag)]
        known = [date for date in dates if len(date) == len("YYYY-MM-DD")]
        if known:
            return min(known)
    return ""


def _release_in_pdb(path: Path) -> str:
    if path.name.lower().endswith(".gz"):
        with gzip.open(path, "rt", errors="replace") as file:
            return _first_revision(file)
    with path.open(errors="replace") as file:
        return _first_revision(file)


def _first_revision(lines: Iterable[str]) -> str:
    """Return the date of the record ``REVDAT   1``, which is the release."""
    for line in lines:
        if line.startswith("REVDAT   1 "):
            return datetime.strptime(line[13:22], "%d-%b-%y").date().isoformat()
        if line.startswith(("ATOM", "HETATM")):
            break
    return ""


def _unreadable(path: Path, found: str) -> InputError:
    return InputError(
        "cannot be read as a structure", found=found, path=path, remedy="Replace the file or take it out of the folder"
    )
