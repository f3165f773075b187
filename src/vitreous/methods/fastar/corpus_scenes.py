"""Structures of a corpus as training scenes and as trials."""

import numpy as np
import torch

from vitreous.errors import InputError
from vitreous.methods.fastar.scenes import CorpusScenes, Scenes, normalised
from vitreous.simulate.corpus import Corpus, Split
from vitreous.simulate.self_overlap import SYMMETRIC_FROM

LEAST_RESIDUES = 300
"""Smallest structure of a trial: below, a cryo-EM particle is out of reach."""


def training_scenes(corpus: Corpus, split: Split = "train") -> CorpusScenes:
    """Return a split as scenes; only asymmetric structures are drawn whole.

    Raises
    ------
    InputError
        Where the split has no asymmetric structure.
    """
    chosen = [int(i) for i in corpus.subset(split)]
    if not (corpus.self_overlap[chosen] < SYMMETRIC_FROM).any():
        raise InputError(
            f"the {split} split of the corpus holds no asymmetric structure",
            expected="one at least",
            found=f"{len(chosen)} structures",
            remedy="Build the corpus from more structures, or leave --corpus out",
        )
    rows = [corpus.rows(i) for i in chosen]
    sizes = [row.stop - row.start for row in rows]
    masses = np.concatenate([corpus.masses_Da(i) for i in chosen])
    return CorpusScenes(
        points_A=torch.from_numpy(np.concatenate([corpus.points_A[row] for row in rows])),
        masses=torch.from_numpy(masses / masses.mean()),
        starts=torch.tensor([0, *np.cumsum(sizes)]),
        whole=torch.from_numpy(np.flatnonzero(corpus.self_overlap[chosen] < SYMMETRIC_FROM)),
    )


def trial_scenes(
    corpus: Corpus, split: Split, beads: int = 600, at_most: int | None = None
) -> tuple[list[str], Scenes]:
    """Return names and scenes of the asymmetric structures of a split of at least 300 residues, as they are.

    Raises
    ------
    InputError
        Where there are none.
    """
    chosen = trial_structures(corpus, split)[:at_most]
    if not chosen:
        raise InputError(
            f"the {split} split of the corpus holds no asymmetric structure of {LEAST_RESIDUES} residues",
            remedy="Build the corpus from more structures",
        )
    parts = [_spread(corpus, i, beads) for i in chosen]
    points, weights = (torch.stack(column) for column in zip(*parts))
    return [str(corpus.ids[i]) for i in chosen], normalised(points, weights)


def trial_structures(corpus: Corpus, split: Split) -> list[int]:
    """Return the numbers of the structures that :func:`trial_scenes` takes."""
    return [
        int(i)
        for i in corpus.subset(split)
        if corpus.self_overlap[i] < SYMMETRIC_FROM and len(corpus.points(int(i))) >= LEAST_RESIDUES
    ]


def _spread(corpus: Corpus, i: int, beads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of equal numbers of neighbouring residues, or single residues and weightless points where there are few."""
    points, masses = corpus.points(i), corpus.masses_Da(i)
    edges = np.linspace(0, len(points), min(beads, len(points)) + 1).astype(int)
    mass = np.add.reduceat(masses, edges[:-1])
    centre = np.add.reduceat(points * masses[:, None], edges[:-1], axis=0) / mass[:, None]
    padded = np.zeros((beads, 3), np.float32), np.zeros(beads, np.float32)
    padded[0][: len(centre)], padded[1][: len(mass)] = centre, mass
    return torch.from_numpy(padded[0]), torch.from_numpy(padded[1])
