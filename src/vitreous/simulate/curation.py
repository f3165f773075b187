"""Which structures enter a corpus: rules on whole structures and on their chains."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vitreous.errors import ConfigError
from vitreous.simulate.tally import Tally
from vitreous.simulate.trace import Trace

CLASH_A = 1.7
CLASH_FRACTION = 0.3
CONTACT_A = 15.0

ENTRY_RULES = ("released too late", "resolution above the limit", "no date reported", "no resolution reported")
CHAIN_RULES = ("chains of unknown residues", "nucleic acids", "clashing chains", "chains far from the contact")
SIZE_RULES = ("too few residues", "too many residues")
"""Names of the rules in the order in which they are applied."""


@dataclass(frozen=True)
class CurationConfig:
    """Rules of appendix E of CryoFastAR (after AlphaFold 3), and how they are relaxed."""

    released_before: str = "2021-09-30"
    """Date (YYYY-MM-DD) before which a structure must be released."""

    max_resolution: float = 9.0
    """Worst reported resolution in Å."""

    keep_unreported: bool = False
    """Keep structures that report no resolution (NMR, predictions) or no date."""

    min_residues: int = 150
    """Fewest residues of an assembly."""

    max_residues: int = 60_000
    """Most residues of an assembly."""

    max_chains: int = 20
    """Assemblies of more chains are cut down to this many around a random contact."""

    nucleic_acids: bool = True
    """Keep RNA and DNA, which the paper removes: particle stacks hold them, so a network must know them."""

    seed: int = 0
    """Start of every random choice."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        try:
            date.fromisoformat(self.released_before)
        except ValueError as error:
            raise ConfigError(
                "--released-before is not a date", found=self.released_before, remedy="Give YYYY-MM-DD"
            ) from error
        if not 0 < self.min_residues <= self.max_residues:
            raise ConfigError(
                "--min-residues and --max-residues are no range",
                found=f"{self.min_residues} and {self.max_residues}",
                remedy="Give 0 < min ≤ max",
            )
        if self.max_chains < 1:
            raise ConfigError("--max-chains is below 1", found=self.max_chains, remedy="Give a positive number")


def refusal_of_entry(released: str, resolution_A: float | None, config: CurationConfig) -> str | None:
    """Return the rule by which date or resolution exclude a structure, or None.

    Parameters
    ----------
    released
        ``YYYY-MM-DD``, or empty where there is no date.
    resolution_A
        Reported resolution, or None.
    config
        The limits.
    """
    if released >= config.released_before:
        return "released too late"
    if resolution_A is not None and resolution_A > config.max_resolution:
        return "resolution above the limit"
    if config.keep_unreported:
        return None
    if not released:
        return "no date reported"
    return "no resolution reported" if resolution_A is None else None


def finish_trace(trace: Trace, config: CurationConfig, tally: Tally) -> Trace | None:
    """Cut a large assembly down, judge its size and centre it; None where it is too small or too large."""
    if len(trace.offsets) - 1 > config.max_chains:
        trace = without_chains(trace, ~chains_around_contact(trace, config), "chains far from the contact", tally)
    if config.min_residues <= len(trace) <= config.max_residues:
        return trace.centred()
    tally.count("too few residues" if len(trace) < config.min_residues else "too many residues")
    return None


def without_chains(trace: Trace, gone: Sequence[bool] | NDArray[np.bool_], rule: str, tally: Tally) -> Trace:
    """Remove the chains where ``gone [c]`` is true, and count them."""
    if not any(gone):
        return trace
    kept = trace.keep_chains(~np.asarray(gone))
    tally.count(rule, "chains", int(np.sum(gone)))
    tally.count(rule, "residues", len(trace) - len(kept))
    return kept


def clashing_chains(xyz_A: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which chains go because they run into another.

    Two chains clash where more than 30 % of the atoms of either lie within 1.7 Å of an atom of the other. Of the two
    the one with the larger clashing part goes; on a tie the one with fewer atoms, on another the later one. A chain
    that is gone clashes with nothing more.

    Parameters
    ----------
    xyz_A
        Atoms ``[n, 3]``, chain after chain in the order of their names.
    offsets
        ``[c + 1]``: chain j has the atoms ``offsets[j]`` to ``offsets[j + 1]``.
    """
    sizes = np.diff(offsets)
    chain = np.repeat(np.arange(len(sizes)), sizes)
    pairs = cKDTree(xyz_A).query_pairs(CLASH_A, output_type="ndarray") if len(xyz_A) else np.zeros((0, 2), np.int64)
    pairs = pairs[chain[pairs[:, 0]] != chain[pairs[:, 1]]]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    touched = np.unique(np.stack([both[:, 0], chain[both[:, 1]]], 1), axis=0)
    between, counts = np.unique(np.stack([chain[touched[:, 0]], touched[:, 1]], 1), axis=0, return_counts=True)
    clashes = {(own, other): count for (own, other), count in zip(between.tolist(), counts.tolist())}
    gone = np.zeros(len(sizes), bool)
    for first, second in sorted(pair for pair in clashes if pair[0] < pair[1]):
        parts = clashes[first, second] / sizes[first], clashes[second, first] / sizes[second]
        if max(parts) > CLASH_FRACTION and not gone[first] and not gone[second]:
            gone[max(((parts[0], -sizes[first], first), (parts[1], -sizes[second], second)))[2]] = True
    return gone


def chains_around_contact(trace: Trace, config: CurationConfig) -> NDArray[np.bool_]:
    """Tell which chains of a large assembly stay ``[c]``: those nearest to one random residue of an interface.

    A residue of an interface lies within 15 Å of a residue of another chain. The choice depends on the seed and the
    name of the structure alone.
    """
    chain = trace.chain_of_residue
    pairs = cKDTree(trace.xyz_A).query_pairs(CONTACT_A, output_type="ndarray")
    at_interface = np.unique(pairs[chain[pairs[:, 0]] != chain[pairs[:, 1]]])
    candidates = at_interface if len(at_interface) else np.arange(len(trace))
    generator = np.random.default_rng([config.seed, zlib.crc32(trace.name.encode())])
    centre = trace.xyz_A[candidates[generator.integers(len(candidates))]]
    distance = np.linalg.norm(trace.xyz_A - centre, axis=1)
    nearest = np.argsort(np.minimum.reduceat(distance, trace.offsets[:-1]), kind="stable")
    kept = np.zeros(len(trace.offsets) - 1, bool)
    kept[nearest[: config.max_chains]] = True
    return kept
