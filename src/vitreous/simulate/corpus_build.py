"""From a folder of structures to a corpus: curation, exclusion of homologues, families, splits, self-overlap."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.errors import InputError
from vitreous.simulate.corpus import RESIDUE_NAMES, Corpus
from vitreous.simulate.curation import CurationConfig
from vitreous.simulate.curation_atoms import curate_files, sequences_of_files
from vitreous.simulate.curation_traces import curate_traces, holds_traces, sequences_of_traces
from vitreous.simulate.entry_files import structure_files
from vitreous.simulate.families import find_families, homologous_structures, split_families
from vitreous.simulate.homology import HomologyRule
from vitreous.simulate.self_overlap import self_overlap
from vitreous.simulate.tally import Tally
from vitreous.simulate.trace import Trace


def build_corpus(
    folder: Path,
    config: CurationConfig,
    rule: HomologyRule,
    exclude: Sequence[Path] = (),
    progress: Progress | None = None,
) -> tuple[Corpus, Tally]:
    """Build a corpus from a folder of structure files or an archive of traces.

    Parameters
    ----------
    folder
        ``.cif``, ``.mmcif``, ``.pdb``, ``.ent`` (``.gz`` allowed) in it and below, or ``ca_traces.npz`` with
        ``assembly1.json.gz`` and ``entries.csv``.
    config
        Rules on structures and chains.
    rule
        What counts as homologous.
    exclude
        Folders of either kind whose structures must have no homologue in the corpus.
    progress
        Bars.

    Returns
    -------
    The corpus, and what every rule took.

    Raises
    ------
    InputError
        Where a folder holds no structures, a file to exclude cannot be read, or no structure passes.
    """
    progress, tally = progress or SilentProgress(), Tally()
    _require_structures([folder, *exclude])
    curate = curate_traces if holds_traces(folder) else curate_files
    traces = _without_homologues(list(curate(folder, config, tally, progress)), exclude, rule, tally)
    tally.count("kept", n=len(traces))
    tally.count("kept", "chains", sum(len(trace.offsets) - 1 for trace in traces))
    tally.count("kept", "residues", sum(map(len, traces)))
    if not traces:
        raise InputError(
            "no structure passes the rules\n" + tally.table(), path=folder, remedy="Relax the rules or add structures"
        )
    family = find_families(len(traces), _chains(traces), rule, progress)
    overlaps = [self_overlap(trace.xyz_A) for trace in progress.track(traces, "self-overlap")]
    return _pack(traces, family, split_families(family, config.seed), np.array(overlaps, np.float32)), tally


def _require_structures(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise InputError("no such folder", path=folder, remedy="Give a folder of structures")
        if not holds_traces(folder) and not structure_files(folder):
            raise InputError("no structures in this folder", path=folder, remedy="Give PDB or mmCIF files")


def _without_homologues(traces: list[Trace], exclude: Sequence[Path], rule: HomologyRule, tally: Tally) -> list[Trace]:
    read = [sequences_of_traces(folder) if holds_traces(folder) else sequences_of_files(folder) for folder in exclude]
    found = homologous_structures(_chains(traces), [codes for part in read for codes in part], rule)
    if exclude:
        tally.count("homologues of excluded structures", n=len(found))
    return [trace for i, trace in enumerate(traces) if i not in found]


def _chains(traces: Sequence[Trace]) -> list[tuple[int, NDArray[np.uint8]]]:
    return [(i, codes) for i, trace in enumerate(traces) for codes in trace.sequences]


def _pack(
    traces: Sequence[Trace],
    family: NDArray[np.int32],
    split: NDArray[np.int8],
    overlaps: NDArray[np.float32],
) -> Corpus:
    return Corpus(
        ids=np.array([trace.name for trace in traces]),
        structure_offsets=np.cumsum([0, *(len(trace.offsets) - 1 for trace in traces)], dtype=np.int64),
        chain_offsets=np.cumsum([0, *(n for trace in traces for n in np.diff(trace.offsets))], dtype=np.int64),
        points_A=np.concatenate([trace.xyz_A for trace in traces]).astype(np.float32),
        residues=np.concatenate([trace.residues for trace in traces]),
        residue_names=np.array(RESIDUE_NAMES),
        split=split,
        family=family,
        self_overlap=overlaps,
    )
