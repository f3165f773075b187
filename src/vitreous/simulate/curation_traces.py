"""Curation of a folder that holds Cα and P traces in one archive instead of structure files."""

import csv
import gzip
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vitreous.compute.progress import Progress
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.simulate.corpus import RESIDUE_NAMES
from vitreous.simulate.curation import (
    CHAIN_RULES,
    ENTRY_RULES,
    SIZE_RULES,
    CurationConfig,
    clashing_chains,
    finish_trace,
    refusal_of_entry,
    without_chains,
)
from vitreous.simulate.polymers import is_nucleic
from vitreous.simulate.tally import Tally
from vitreous.simulate.trace import UNKNOWN_CODE, Trace

_TRACES, _ASSEMBLIES, _ENTRIES = "ca_traces.npz", "assembly1.json.gz", "entries.csv"


def holds_traces(folder: Path) -> bool:
    """Tell whether a folder is an archive of traces."""
    return (folder / _TRACES).is_file()


@final
@dataclass(frozen=True)
class TraceArchive:
    """Traces as they are stored.

    Attributes
    ----------
    arrays
        ``ids [s]``; ``offsets [s + 1]`` into residues; ``xyz_tenth_angstrom [r, 3]`` about the centre of the entry;
        ``res [r]``, index into ``resnames``; ``chain [r]``.
    assemblies
        By id: ``center`` in Å and ``transforms``, each with ``chains`` and a row-major 4 × 4 matrix ``m``, of the
        first biological assembly.
    entries
        By id: ``deposited`` and ``resolution``, among others.
    """

    arrays: Mapping[str, NDArray[Any]]
    assemblies: Mapping[str, Any]
    entries: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, folder: Path) -> "TraceArchive":
        """Read the three files of a folder.

        Raises
        ------
        InputError
            Where one is missing or damaged, or an entry lacks its assembly or its line.
        """
        try:
            with reading(folder / _TRACES), (folder / _TRACES).open("rb") as raw, np.load(raw) as file:
                arrays = {name: file[name] for name in file.files}
            with reading(folder / _ASSEMBLIES), gzip.open(folder / _ASSEMBLIES, "rt") as text:
                assemblies = json.load(text)
            with reading(folder / _ENTRIES), (folder / _ENTRIES).open(newline="") as text:
                entries = {row["pdb_id"]: row for row in csv.DictReader(text)}
            ids = [str(name) for name in arrays["ids"]]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(folder, repr(error)) from error
        absent = [name for name in ids if name not in assemblies or name not in entries]
        if absent:
            raise _damaged(folder, f"no assembly or no line for {absent[0]}")
        return cls(arrays, assemblies, entries)

    def __len__(self) -> int:
        return len(self.arrays["ids"])

    def codes(self, i: int) -> NDArray[np.uint8]:
        """Return the residues of entry ``i`` as indices into ``RESIDUE_NAMES``."""
        known = {name: code for code, name in enumerate(RESIDUE_NAMES)}
        table = np.array([known.get(str(name), UNKNOWN_CODE) for name in self.arrays["resnames"]], np.uint8)
        return table[self.arrays["res"][self._rows(i)]]

    def assembly(self, i: int) -> Trace:
        """Build the first biological assembly of entry ``i``."""
        name, rows, codes = str(self.arrays["ids"][i]), self._rows(i), self.codes(i)
        stored, chain = self.assemblies[name], self.arrays["chain"][rows]
        xyz_A = self.arrays["xyz_tenth_angstrom"][rows] / 10 + np.array(stored["center"])
        chains = []
        for transform in stored["transforms"]:
            matrix = np.array(transform["m"], np.float64).reshape(4, 4)
            for number in transform["chains"]:
                own = chain == number
                chains.append((xyz_A[own] @ matrix[:3, :3].T + matrix[:3, 3], codes[own]))
        return Trace.of_chains(name, chains)

    def _rows(self, i: int) -> slice:
        return slice(int(self.arrays["offsets"][i]), int(self.arrays["offsets"][i + 1]))


def curate_traces(folder: Path, config: CurationConfig, tally: Tally, progress: Progress) -> Iterator[Trace]:
    """Yield the structures of an archive that pass.

    The archive has no release dates, so that the date of deposition counts, and no numbering, so that gaps of a chain
    are not judged. Clashes are judged by Cα and P.

    Raises
    ------
    InputError
        Where the archive is incomplete or damaged.
    """
    archive = TraceArchive.read(folder)
    tally.announce("read", *ENTRY_RULES, *CHAIN_RULES, *SIZE_RULES)
    for i in progress.track(range(len(archive)), "reading traces"):
        tally.count("read")
        entry = archive.entries[str(archive.arrays["ids"][i])]
        resolution_A = float(entry["resolution"]) if entry["resolution"] else None
        rule = refusal_of_entry(entry["deposited"], resolution_A, config)
        trace = _curate(archive.assembly(i), config, tally) if rule is None else None
        if rule is not None:
            tally.count(rule)
        if trace is not None:
            yield trace


def _curate(trace: Trace, config: CurationConfig, tally: Tally) -> Trace | None:
    unknown = [bool((codes == UNKNOWN_CODE).all()) for codes in trace.sequences]
    trace = without_chains(trace, unknown, "chains of unknown residues", tally)
    if not config.nucleic_acids:
        trace = without_chains(trace, [is_nucleic(codes) for codes in trace.sequences], "nucleic acids", tally)
    trace = without_chains(trace, clashing_chains(trace.xyz_A, trace.offsets), "clashing chains", tally)
    return finish_trace(trace, config, tally)


def sequences_of_traces(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the residues of all chains of an archive.

    Raises
    ------
    InputError
        Where the archive is incomplete or damaged.
    """
    archive = TraceArchive.read(folder)
    return [codes for i in range(len(archive)) for codes in archive.assembly(i).sequences]


def _damaged(folder: Path, found: str) -> InputError:
    return InputError(
        "not an archive of traces",
        expected=f"{_TRACES}, {_ASSEMBLIES} and {_ENTRIES} that belong together",
        found=found,
        path=folder,
        remedy="Copy the folder again, or give a folder of structure files",
    )
