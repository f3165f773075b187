"""A result becomes files that give it back, all of them or none."""

import json

import mrcfile
import numpy as np
import pytest
import torch

from vitreous.data import ArraySource, ConicalCurves, Optics, Particles, Poses, ResolutionCurves, Result, Volume
from vitreous.errors import InputError, ResourceError
from vitreous.geometry.rotations import random_rotations
from vitreous.io.star import read_star
from vitreous.runs.manifest import Manifest
from vitreous.runs.reader import read_latents, read_run
from vitreous.runs.store import RunFolder

N, BOX = 6, 8


@pytest.fixture
def particles(generator):
    ids = np.array([f"{i + 1}@a.mrcs" for i in range(N)])
    return Particles(ArraySource(torch.randn(N, BOX, BOX, generator=generator), 2.0), Optics.without_ctf(N), ids)


@pytest.fixture
def result(generator):
    def volume():
        return Volume(torch.randn(BOX, BOX, BOX, generator=generator), 2.0)

    frequency = torch.arange(5, dtype=torch.float64) / 16
    return Result(
        volume=volume(),
        half_maps=(volume(), volume()),
        class_volumes=(volume(), volume()),
        poses=Poses(random_rotations(N, generator), torch.randn(N, 2, generator=generator)),
        half_sets=torch.tensor([1, 2] * 3),
        latents=torch.randn(N, 2, generator=generator),
        classes=torch.tensor([1, 1, 2, 2, 1, 2]),
        scores={"log_likelihood": torch.arange(N) / 3, "effective_poses": torch.ones(N)},
        curves=ResolutionCurves(frequency, torch.linspace(1, 0, 5, dtype=torch.float64)),
        resolution_A=7.5,
        symmetry="D2",
        cones=ConicalCurves(frequency, torch.eye(3), torch.rand(3, 5, generator=generator).double(), *torch.rand(2, 3)),
        verdict="ambiguous",
        warnings=("two answers",),
        metrics={"diameter_A": 100.0, "ratio": float("inf")},
        state={"weights": torch.ones(3)},
    )


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", Manifest(name="probe", command=("vitreous", "probe"), config={}))


def test_everything_comes_back(folder, result, particles):
    folder.log({"step": 1, "loss": 0.5})
    folder.write_result(result, particles, ["read with care"])
    run = read_run(folder.path)
    assert run.summary["verdict"] == "ambiguous"
    assert run.summary["resolution_A"] == 7.5
    assert run.summary["symmetry"] == "D2"
    assert run.summary["particles"] == N
    assert run.summary["warnings"] == ["read with care", "two answers"]
    assert run.summary["diameter_A"] == 100.0
    assert run.summary["ratio"] is None
    assert run.summary["seconds"] >= 0
    assert run.summary["peak_memory_MB"] > 10
    assert [line["step"] for line in run.metrics] == [1]
    for name, volume in {
        "volume": result.volume,
        "half2": result.half_maps[1],
        "class_2": result.class_volumes[1],
    }.items():
        assert torch.equal(run.map(name).values, volume.values)
    assert run.map("mask") is None
    torch.testing.assert_close(run.curves.unmasked, result.curves.unmasked)
    torch.testing.assert_close(run.cones.fsc, result.cones.fsc, atol=1e-5, rtol=0)
    np.testing.assert_array_equal(run.latents[1], result.latents.numpy())


def test_files_are_readable_without_the_package(folder, result, particles):
    folder.write_result(result, particles)
    with mrcfile.open(folder.path / "half1.mrc", permissive=False) as file:
        np.testing.assert_array_equal(file.data, result.half_maps[0].values.numpy())
        assert float(file.voxel_size.x) == pytest.approx(2.0)
    with np.load(folder.path / "latents.npz", allow_pickle=False) as archive:
        assert archive["ids"].dtype.kind == "U"
        assert archive["z"].dtype == np.float32
    assert json.loads((folder.path / "summary.json").read_text())["verdict"] == "ambiguous"


def test_classes_and_scores_are_columns(folder, result, particles):
    folder.write_result(result, particles)
    columns = read_star(folder.path / "particles.star")["particles"].columns
    assert columns["rlnClassNumber"].tolist() == result.classes.tolist()
    np.testing.assert_allclose(columns["rlnLogLikeliContribution"], result.scores["log_likelihood"], atol=1e-6)
    assert columns["vitreousEffectivePoses"].tolist() == [1] * N
    assert columns["rlnRandomSubset"].tolist() == result.half_sets.tolist()
    np.testing.assert_allclose(columns["rlnOriginXAngst"], -result.poses.shifts_A[:, 0], atol=1e-5)
    ids, _ = read_latents(folder.path / "latents.npz")
    names = [f"{int(i.split('@')[0])}@{i.split('@')[1]}" for i in columns["rlnImageName"]]
    assert ids.tolist() == names


def test_failed_write_leaves_no_result(folder, result, particles, monkeypatch):
    def full(*args, **options):
        raise ResourceError("the disk is full", remedy="Free some space")

    monkeypatch.setattr("vitreous.runs.results.write_relion_star", full)
    with pytest.raises(ResourceError), folder:
        folder.write_result(result, particles)
    assert not folder.path.exists()


def test_killed_run_is_readable(folder):
    folder.log({"step": 1})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    run = read_run(folder.path)
    assert run.summary is None
    assert [line["step"] for line in run.metrics] == [1]
    assert run.particles is None


def test_pickles_in_latents_are_refused(tmp_path):
    path = tmp_path / "latents.npz"
    np.savez(path, ids=np.array([object()], dtype=object), z=np.zeros((1, 2)))
    with pytest.raises(InputError):
        read_latents(path)
    np.savez(path, ids=np.array(["1@a"]), z=np.zeros((2, 2)))
    with pytest.raises(InputError, match="do not fit"):
        read_latents(path)


def test_finished_run_drops_its_checkpoint(folder, result, particles):
    folder.checkpoint.write_bytes(b"state")
    folder.write_result(result, particles)
    assert not folder.checkpoint.exists()
    assert folder.is_finished
