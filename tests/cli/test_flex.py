"""flex and embed from files to files."""

import csv
import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from tests.cli.blobs import BOX, PIXEL_SIZE_A, write_blob_particles
from vitreous.cli.main import main
from vitreous.geometry.rotations import rotation_angle_deg
from vitreous.io import open_particles, write_relion_star
from vitreous.io.maps import read_map
from vitreous.io.star import read_star
from vitreous.methods.pca.method import Pca
from vitreous.train.leg import Leg

QUICK = ["--encoder-width", "16", "--decoder-width", "16", "--encoder-layers", "1", "--decoder-layers", "1"]
CRYODRGN = ["--method", "cryodrgn", *QUICK, "--epochs", "1", "--batch", "16"]
METHODS = ("cryodrgn", "cryonoo", "autodecoder", "cryoformer", "pca")
SMALL = {"queries": 4, "channels": 8, "levels": 2, "encoder-layers": 1, "encoder-maps": 2} | {
    **{"epochs": 2, "march": 0.5, "batch": 16}
}
OF_CRYOFORMER = [word for name, value in SMALL.items() for word in (f"--cryoformer.{name}", str(value))]
CRYOFORMER = ["--method", "cryoformer", *OF_CRYOFORMER]
COMMON = ["--threads", "1", "--quiet", "--contrast", "bright"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_particles(tmp_path_factory.mktemp("stack"), n=64)


@pytest.fixture(scope="module")
def runs(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    flex = ["flex", str(stack), "--dims", "2", "--clusters", "3", *COMMON]
    assert main([*flex, "-o", str(folder / "cryodrgn"), *CRYODRGN]) == 0
    noo = ["--method", "cryonoo", "--epochs", "2", "--noo.warmup", "1", "--noo.expander", "16"]
    noo += ["--encoder-maps", "2"]
    assert main([*flex, "-o", str(folder / "cryonoo"), *QUICK, "--batch", "16", *noo]) == 0
    autodecoder = ["--method", "autodecoder", "--epochs", "1", "--decoder", "basis", "--autodecoder.embed-steps", "5"]
    assert main([*flex, "-o", str(folder / "autodecoder"), *QUICK, "--batch", "16", *autodecoder]) == 0
    assert main([*flex, "-o", str(folder / "cryoformer"), *CRYOFORMER]) == 0
    assert main([*flex, "-o", str(folder / "pca"), "--method", "pca", "--pca.iterations", "2"]) == 0
    return {name: folder / name for name in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_latents_classes_and_maps_that_belong_together(runs, method: str) -> None:
    run = runs[method]
    found = np.load(run / "latents.npz")
    assert found["z"].shape == found["std"].shape == (64, 2)
    table = read_star(run / "particles.star")["particles"].columns
    assert set(table["rlnClassNumber"]) == {1, 2, 3}
    assert ((table["vitreousLatentConfidence"] >= 0) & (table["vitreousLatentConfidence"] <= 1)).all()
    rows = list(csv.DictReader((run / "volumes" / "latents.csv").read_text().splitlines()))
    assert [row["name"] for row in rows[:3]] == ["kmeans_01", "kmeans_02", "kmeans_03"]
    assert len(rows) == len(list((run / "volumes").glob("*.mrc"))) == 3 + 2 * 5 + 5
    centre = np.array([float(rows[0]["z1"]), float(rows[0]["z2"])], dtype=np.float32)
    assert (np.abs(found["z"] - centre).max(1) == 0).sum() == 1  # of one particle, exactly
    whole = read_star(run / "particles.star")["particles"].columns
    for number in (1, 2, 3):
        part = read_star(run / "classes" / f"class_{number}.star")["particles"].columns
        assert part["rlnImageName"].tolist() == [
            name.replace("../", "../../", 1) for name in whole["rlnImageName"][whole["rlnClassNumber"] == number]
        ]
    volume = read_map(run / "volumes" / "kmeans_01.mrc")
    assert (volume.box, volume.voxel_size_A) == (BOX, pytest.approx(PIXEL_SIZE_A))
    assert "Latent space" in (run / "report.html").read_text()


@pytest.mark.parametrize("method", ["cryodrgn", "cryonoo", "cryoformer", "pca"])
def test_embedding_the_training_particles_gives_their_latents_again(runs, stack, tmp_path, method: str) -> None:
    assert main(["embed", str(stack), "--run", str(runs[method]), "-o", str(tmp_path / "new"), *COMMON]) == 0
    first, second = np.load(runs[method] / "latents.npz"), np.load(tmp_path / "new" / "latents.npz")
    np.testing.assert_array_equal(first["ids"], second["ids"])
    np.testing.assert_allclose(first["z"], second["z"], atol=1e-5)
    table = read_star(tmp_path / "new" / "particles.star")["particles"].columns
    assert np.median(table["vitreousLatentDistance"]) == pytest.approx(1, abs=0.2)
    assert json.loads((tmp_path / "new" / "summary.json").read_text())["images_per_second"] > 0


def test_a_cryoformer_leaves_maps_of_what_moves_and_the_report_shows_them(runs) -> None:
    run = runs["cryoformer"]
    flexibility = read_map(run / "flexibility.mrc")
    assert (flexibility.box, flexibility.voxel_size_A) == (BOX, pytest.approx(PIXEL_SIZE_A))
    assert float(flexibility.values.min()) >= 0
    attention = [read_map(run / "attention" / f"query_{number:02d}.mrc").values for number in range(1, 5)]
    assert float(sum(attention)[BOX // 2, BOX // 2, BOX // 2]) == pytest.approx(1)
    assert len(list((run / "attention").iterdir())) == 4
    page = (run / "report.html").read_text()
    assert "query 01" in page
    assert "variance of the density over the particles" in page


def test_refined_poses_are_written_and_latents_are_those_at_them(stack, tmp_path) -> None:
    run, refined = tmp_path / "run", ["--cryoformer.poses", "encoder", "--cryoformer.pose-learning-rate", "1e-2"]
    assert main(["flex", str(stack), "--dims", "2", *COMMON, *CRYOFORMER, *refined, "-o", str(run)]) == 0
    given, found = (open_particles(path, contrast="bright").poses for path in (stack, run / "particles.star"))
    assert float(rotation_angle_deg(found.rotations, given.rotations).median()) > 0.1
    assert float((found.shifts_A - given.shifts_A).abs().max()) > 1e-3
    new = tmp_path / "new"
    assert main(["embed", str(run / "particles.star"), "--run", str(run), "-o", str(new), *COMMON]) == 0
    np.testing.assert_allclose(*(np.load(folder / "latents.npz")["z"] for folder in (run, new)), atol=1e-4)


def test_an_autodecoder_finds_latents_of_new_particles_by_descent(runs, stack, tmp_path) -> None:
    words = ["embed", str(stack), "--run", str(runs["autodecoder"]), *COMMON]
    for name in ("new", "again"):
        assert main([*words, "-o", str(tmp_path / name)]) == 0
    first, second = (np.load(tmp_path / name / "latents.npz") for name in ("new", "again"))
    np.testing.assert_array_equal(first["z"], second["z"])
    assert first["z"].std() > 0


@pytest.mark.parametrize(("method", "options"), [("cryodrgn", CRYODRGN), ("cryoformer", CRYOFORMER)])
def test_training_that_ran_out_of_minutes_goes_on(
    stack, tmp_path, runs, monkeypatch, method: str, options: list[str]
) -> None:
    command = ["flex", str(stack), "--dims", "2", "--clusters", "3", *COMMON, *options]
    run = tmp_path / "legs"
    words = [*command, "-o", str(run), "--minutes", "60"]
    with monkeypatch.context() as patch:
        patch.setattr(Leg, "why_over", lambda self, step, *, interrupted: "minutes" if step >= 2 else None)
        assert main(words) == 0
    assert (run / "checkpoint.safetensors").exists()
    assert not (run / "summary.json").exists()
    with monkeypatch.context() as patch:
        patch.delattr(Pca, "run")  # the encoder's maps are those of the checkpoint
        assert main([*words, "--resume"]) == 0
    whole, legs = np.load(runs[method] / "latents.npz"), np.load(run / "latents.npz")
    np.testing.assert_array_equal(whole["z"], legs["z"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["autodecoder", "cryoformer"])
def test_processes_that_share_every_batch_learn_what_one_learns(stack, runs, tmp_path, method: str) -> None:
    options = CRYOFORMER
    if method == "autodecoder":
        options = ["--method", method, *QUICK, "--batch", "16", "--epochs", "1", "--decoder", "basis"]
    run = tmp_path / "shared"
    shared = ["--dims", "2", "--clusters", "3", *COMMON, "--devices", "2"]
    assert main(["flex", str(stack), "-o", str(run), *shared, *options]) == 0
    one, two = (np.load(folder / "latents.npz")["z"] for folder in (runs[method], run))
    assert two.shape == one.shape
    assert (run / "metrics.jsonl").read_text().count("epoch") == (runs[method] / "metrics.jsonl").read_text().count(
        "epoch"
    )
    if method == "autodecoder":  # no dice: the mean gradient of two halves is that of the whole
        np.testing.assert_allclose(two, one, atol=1e-3 * np.abs(one).max())
    else:
        assert np.isfinite(two).all()


def test_runs_that_do_not_fit_are_refused(runs, stack, tmp_path, capsys) -> None:
    new = ["-o", str(tmp_path / "new"), *COMMON]
    assert main(["embed", str(stack), "--run", str(runs["pca"]), *new, "--box", "16"]) == 2
    assert f"--box {BOX}" in capsys.readouterr().err
    assert main(["embed", str(stack), "--run", str(stack.parent), *new]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dims", "0"], "--dims must be at least 1"),
        (["--epochs", "3"], "--epochs does not belong to --method pca"),
        (["--epochs", "3"], "Name the method that trains networks, as --method cryonoo"),
        (["--method", "cryoformer", "--epochs", "3"], "Did you mean --cryoformer.epochs"),
        (["--method", "cryoformer", "--patience", "3", "--seed", "3"], "--patience and --seed do not"),
        (["--cryoformer.epochs", "3"], "belongs to --method cryoformer"),
        (["--method", "cryodrgn", "--pca.iterations", "3"], "belongs to --method pca"),
        (["--autodecoder.embed-steps", "9"], "belongs to --method autodecoder"),
        (["--method", "cryodrgn", "--decoder", "basis", "--refine-poses"], "--refine-poses cannot be used"),
        (["--noo.weight", "1"], "belongs to --method cryonoo"),
        (["--method", "autodecoder", "--encoder", "maps"], "--encoder does not belong to --method autodecoder"),
        (["--method", "cryonoo", "--noo.views", "turned", "--encoder", "maps"], "--noo.views cannot be used"),
        (["--method", "cryonoo", "--encoder-maps", "0"], "--encoder-maps cannot be used"),
        (["--method", "cryonoo", "--noo.warmup", "30"], "--noo.warmup cannot be used"),
        (["--minutes", "-1"], "--minutes must be positive"),
        (["--method", "cryodrgn", "--devices", "3"], "--devices must divide --batch"),
        (["--method", "cryoformer", "--devices", "5"], "--devices must divide --cryoformer.batch"),
        (["--method", "pca", "--devices", "2"], "--devices belongs to methods that train networks"),
        (["--method", "pca", "--devices", "3"], "--devices belongs to methods that train networks"),
        (["--minutes", "5"], "--minutes belongs to methods that train networks"),
    ],
)
def test_options_that_cannot_be(stack, tmp_path, capsys, words: list[str], said: str) -> None:
    assert main(["flex", str(stack), "-o", str(tmp_path / "x"), *COMMON, *words]) == 2
    assert said in capsys.readouterr().err


def test_particles_without_poses_are_refused(stack, tmp_path, capsys) -> None:
    bare, truth = stack.with_name("particles.mrcs"), stack.with_name("truth.star")
    assert main(["flex", str(bare), "--ctf", "none", "-o", str(tmp_path / "x"), *COMMON]) == 2
    assert "have no poses" in capsys.readouterr().err
    truth.touch()
    assert main(["flex", str(bare), "--ctf", "none", "-o", str(tmp_path / "x"), *COMMON]) == 2
    truth.unlink()
    assert f"the simulation's true poses are in {truth}." in capsys.readouterr().err


def test_latents_are_evaluated_against_a_truth(tmp_path, capsys) -> None:
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(300, generator=generator) * 360
    z = torch.stack([torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin()], 1).numpy()
    ids = np.array([f"{i + 1:06d}@/somewhere/a.mrcs" for i in range(300)])
    np.savez(tmp_path / "latents.npz", ids=ids, z=z)
    truth = tmp_path / "truth.csv"
    lines = [f"{i + 1}@a.mrcs,1,{float(angle)}" for i, angle in enumerate(angles)]
    truth.write_text("\n".join(["id,state,coordinate_1", *lines]) + "\n")
    out = tmp_path / "out.json"
    assert main(["evaluate", "latents", str(tmp_path / "latents.npz"), "--truth", str(truth), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["circular_correlation"] > 0.99
    assert "circular" in capsys.readouterr().out
    truth.write_text("\n".join(["id,state,coordinate_1", *(f"{i + 1}@a.mrcs,1,0.1" for i in range(300))]) + "\n")
    assert main(["evaluate", "latents", str(tmp_path / "latents.npz"), "--truth", str(truth)]) == 2
    assert "all particles have one conformation" in capsys.readouterr().err
    truth.write_text("a,b\n1,2\n")
    assert main(["evaluate", "latents", str(tmp_path / "latents.npz"), "--truth", str(truth)]) == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "pca", "--pca.iterations", "6"],
        ["--method", "cryonoo", *QUICK, "--epochs", "2", "--noo.warmup", "1", "--noo.expander", "8", "--batch", "16"],
    ],
)
def test_particles_that_show_no_motion_are_warned_of(stack, tmp_path, options: list[str]) -> None:
    noise = tmp_path / stack.name
    noise.write_text(stack.read_text())
    images = np.random.default_rng(0).standard_normal((64, BOX, BOX)).astype(np.float32)
    with mrcfile.new(noise.with_suffix(".mrcs")) as target:
        target.set_data(images)
        target.set_image_stack()
        target.voxel_size = PIXEL_SIZE_A
    assert main(["flex", str(noise), "-o", str(tmp_path / "run"), "--dims", "2", *COMMON, *options]) == 0
    said = json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"]
    assert sum("say nothing" in warning for warning in said) == 1


def test_few_particles_are_refused_or_warned_of(runs, stack, tmp_path, capsys) -> None:
    few = tmp_path / "few.star"
    particles = open_particles(stack, contrast="bright")
    write_relion_star(few, particles.select(torch.arange(10)), poses=particles.poses.select(torch.arange(10)))
    assert main(["flex", str(few), "-o", str(tmp_path / "few"), "--method", "pca", *COMMON]) == 2
    assert "too few particles" in capsys.readouterr().err
    assert any("are few" in warning for warning in json.loads((runs["pca"] / "summary.json").read_text())["warnings"])


def test_latents_far_from_the_run_and_truths_of_poses_are_refused(runs, stack, tmp_path, capsys) -> None:
    far = tmp_path / "far.csv"
    names = (runs["pca"] / "volumes" / "latents.csv").read_text().splitlines()
    cells = names[1].split(",")
    far.write_text(names[0] + "\n" + ",".join([cells[0], *["1e30"] * (len(cells) - 1)]) + "\n")
    words = ["decode", "--run", str(runs["pca"]), "-o", str(tmp_path / "maps"), "--latents", str(far), "--threads", "1"]
    assert main(words) == 2
    assert "far outside" in capsys.readouterr().err
    assert main(["evaluate", "latents", str(runs["pca"]), "--truth", str(stack)]) == 2
    assert "latents_truth.csv" in capsys.readouterr().err
