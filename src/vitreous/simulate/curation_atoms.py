"""Curation of a folder of PDB and mmCIF files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from vitreous.compute.progress import Progress
from vitreous.errors import InputError
from vitreous.simulate.curation import (
    CHAIN_RULES,
    ENTRY_RULES,
    SIZE_RULES,
    CurationConfig,
    clashing_chains,
    finish_trace,
    refusal_of_entry,
)
from vitreous.simulate.entry_files import entry_name, read_entry, structure_files
from vitreous.simulate.polymers import ATOM_RULES, atoms_of, codes_of, has_ca_gap, is_nucleic, keep_polymers, points_of
from vitreous.simulate.tally import Tally
from vitreous.simulate.trace import UNKNOWN_CODE, Trace


def curate_files(folder: Path, config: CurationConfig, tally: Tally, progress: Progress) -> Iterator[Trace]:
    """Yield the structures of a folder that pass, with the first biological assembly built.

    A file that cannot be read is counted and named, and does not stop the others.
    """
    tally.announce("read", "second file of one name", "cannot be read", *ENTRY_RULES, *ATOM_RULES)
    tally.announce(CHAIN_RULES[0], "nucleic acids", "chains with a Cα gap", *CHAIN_RULES[2:], *SIZE_RULES)
    seen: set[str] = set()
    for path in progress.track(structure_files(folder), "reading structures"):
        tally.count("read")
        if entry_name(path) in seen:
            tally.count("second file of one name")
            continue
        seen.add(entry_name(path))
        try:
            trace = curate_file(path, config, tally)
        except InputError as error:
            tally.count("cannot be read")
            progress.message(str(error))
            continue
        if trace is not None:
            yield trace


def curate_file(path: Path, config: CurationConfig, tally: Tally) -> Trace | None:
    """Return the points of one structure file, or None where a rule refuses it.

    Raises
    ------
    InputError
        Where the file cannot be read.
    """
    entry = read_entry(path)
    rule = refusal_of_entry(entry.released, entry.resolution_A, config)
    if rule is not None:
        tally.count(rule)
        return None
    keep_polymers(entry.structure, tally)
    _remove_chains(entry.structure[0], config, tally)
    chains = _without_clashes(list(_first_assembly(entry.structure)), tally)
    return finish_trace(Trace.of_chains(entry_name(path), [points_of(chain) for chain in chains]), config, tally)


def _remove_chains(model: Any, config: CurationConfig, tally: Tally) -> None:
    for k in range(len(model) - 1, -1, -1):
        rule = _refusal_of_chain(model[k], config)
        if rule is not None:
            tally.count(rule, "chains")
            tally.count(rule, "residues", len(model[k]))
            del model[k]


def _refusal_of_chain(chain: Any, config: CurationConfig) -> str | None:
    codes = codes_of(chain)
    if bool((codes == UNKNOWN_CODE).all()):
        return "chains of unknown residues"
    if is_nucleic(codes):
        return None if config.nucleic_acids else "nucleic acids"
    return "chains with a Cα gap" if has_ca_gap(chain) else None


def _first_assembly(structure: Any) -> Any:
    """Return the model of biological assembly 1, or the deposited one where the file defines none."""
    model = structure[0]
    assembly = next((assembly for assembly in structure.assemblies if assembly.name == "1"), None)
    if assembly is None:
        return model
    chains = {chain.name for chain in model}
    subchains = {residue.subchain for chain in model for residue in chain}
    for generator in assembly.generators:  # gemmi refuses names of chains that curation has removed
        generator.chains = [name for name in generator.chains if name in chains]
        generator.subchains = [name for name in generator.subchains if name in subchains]
    return gemmi.make_assembly(assembly, model, gemmi.HowToNameCopiedChain.AddNumber)


def _without_clashes(chains: list[Any], tally: Tally) -> list[Any]:
    atoms = [atoms_of(chain) for chain in chains]
    offsets = np.cumsum([0, *map(len, atoms)], dtype=np.int64)
    gone = clashing_chains(np.concatenate([np.zeros((0, 3)), *atoms]), offsets)
    for chain in (chain for chain, is_gone in zip(chains, gone) if is_gone):
        tally.count("clashing chains", "chains")
        tally.count("clashing chains", "residues", len(chain))
    return [chain for chain, is_gone in zip(chains, gone) if not is_gone]


def sequences_of_files(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the residues of all polymer chains in a folder of structure files, whatever their date or quality.

    Raises
    ------
    InputError
        Where a file cannot be read: a structure must not be compared by half.
    """
    found = []
    for path in structure_files(folder):
        structure = read_entry(path).structure
        keep_polymers(structure, Tally())
        found += [codes_of(chain) for chain in structure[0]]
    return found
