"""A small run folder with everything that a report can show, written with other code than the report's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.analysis.conical_fsc import cone_axes
from vitreous.data import ConicalCurves, ResolutionCurves, Volume
from vitreous.io.conical_csv import write_conical_csv
from vitreous.io.fsc_csv import write_fsc_csv
from vitreous.io.maps import write_map
from vitreous.runs.manifest import InputFile, Manifest

BOX, VOXEL_A, PARTICLES = 32, 2.5, 300


def ball(box: int, radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> torch.Tensor:
    """A map ``[z, y, x]`` that falls linearly through 1 at ``radius`` voxels from ``centre`` (x, y, z)."""
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    z, y, x = torch.meshgrid(axis - centre[2], axis - centre[1], axis - centre[0], indexing="ij")
    return 1 + (radius - torch.sqrt(x**2 + y**2 + z**2)) / radius


def _star(rng: np.random.Generator) -> str:
    columns = {
        "rlnAngleRot": rng.uniform(-180, 180, PARTICLES),
        "rlnAngleTilt": np.rad2deg(np.arccos(rng.uniform(-1, 1, PARTICLES))),
        "rlnAnglePsi": rng.uniform(-180, 180, PARTICLES),
        "rlnOriginXAngst": rng.normal(size=PARTICLES),
        "rlnOriginYAngst": rng.normal(size=PARTICLES),
        "rlnDefocusU": rng.uniform(9000, 20000, PARTICLES),
        "rlnDefocusV": rng.uniform(9000, 20000, PARTICLES),
        "rlnRandomSubset": 1 + np.arange(PARTICLES) % 2,
        "rlnClassNumber": 1 + np.arange(PARTICLES) % 3,
        "rlnLogLikeliContribution": rng.normal(size=PARTICLES),
        "vitreousEffectivePoses": rng.geometric(0.2, PARTICLES),
    }
    head = [
        "data_optics",
        "",
        "loop_",
        "_rlnOpticsGroup #1",
        "1",
        "",
        "data_particles",
        "",
        "loop_",
        "_rlnImageName #1",
    ]
    labels = [f"_{label} #{number}" for number, label in enumerate(columns, 2)]
    rows = [
        f"{row + 1:06d}@p.mrcs " + " ".join(f"{values[row]:g}" for values in columns.values())
        for row in range(PARTICLES)
    ]
    return "\n".join([*head, *labels, *rows]) + "\n"


def _write_maps(folder: Path) -> None:
    values = ball(BOX, 8).clamp_min(0)
    for name in ("volume", "half1", "half2", "class_1", "class_2", "class_10"):
        write_map(folder / f"{name}.mrc", Volume(values, VOXEL_A))
    write_map(folder / "mask.mrc", Volume((ball(BOX, 11) > 1).float(), VOXEL_A))
    frequency = torch.arange(BOX // 2 + 1, dtype=torch.float64) / (BOX * VOXEL_A)
    falling = 1 - torch.arange(BOX // 2 + 1, dtype=torch.float64) / (BOX // 2)
    write_fsc_csv(folder / "fsc.csv", ResolutionCurves(frequency, falling, falling, falling / 4, falling, 0.1))
    ones = torch.ones(50, dtype=torch.float64)
    write_conical_csv(
        folder / "conical_fsc.csv", ConicalCurves(frequency, cone_axes(50), falling.expand(50, -1), 5.8 * ones, ones)
    )


def write_manifest(folder: Path) -> Path:
    folder.mkdir()
    file = InputFile("/data/p.star", 12, "2025-01-01T00:00:00+00:00", "0" * 64, "whole file")
    Manifest("abinitio", ["vitreous", "abinitio", "p.star"], {"symmetry": "C1"}, seed=3, inputs=[file]).write(folder)
    return folder


def write_example(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    write_manifest(folder)
    _write_maps(folder)
    summary = {"verdict": "solved", "resolution_A": 5.83, "symmetry": "D2", "seconds": 185, "peak_memory_MB": 1500}
    summary |= {"particles": PARTICLES, "warnings": ["The hand is undetermined."], "seeds": 3}
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = [json.dumps({"seconds": i, "iteration": i, "loss": 1 / (i + 1)}) for i in range(5)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "particles.star").write_text(_star(rng))
    ids = np.array([f"{row + 1}@p.mrcs" for row in range(PARTICLES)])
    np.savez(folder / "latents.npz", ids=ids, z=rng.normal(size=(PARTICLES, 4)).astype(np.float32))
    return folder


@pytest.fixture
def manifest_only(tmp_path) -> Path:
    return write_manifest(tmp_path / "run")


@pytest.fixture
def example_run(tmp_path) -> Path:
    return write_example(tmp_path / "run")
