"""Maps at latents of one's choice, from files to files."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cli.blobs import write_blob_particles
from vitreous.cli.main import main
from vitreous.io.maps import read_map

COMMON = ["--threads", "1", "--quiet"]
PCA = ["--method", "pca", "--pca.iterations", "3", "--dims", "2", "--clusters", "3", *COMMON, "--contrast", "bright"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decode")
    stack = write_blob_particles(folder, n=64)
    assert main(["flex", str(stack), *PCA, "-o", str(folder / "flex")]) == 0
    return folder / "flex"


@pytest.fixture(scope="module")
def others(run: Path) -> dict[str, Path]:
    """Runs of other seeds: of flex, and of embed with it."""
    stack, folder = str(next(run.parent.glob("*.star"))), run.parent
    assert main(["flex", stack, *PCA, "--pca.seed", "1", "-o", str(folder / "other")]) == 0
    for model in ("flex", "other"):
        embed = ["embed", stack, "--run", str(folder / model), *COMMON, "--contrast", "bright"]
        assert main([*embed, "-o", str(folder / f"by_{model}")]) == 0
    return {name: folder / name for name in ("other", "by_flex", "by_other")}


def decode(run: Path, out: Path, *words: str) -> Path:
    assert main(["decode", "--run", str(run), "-o", str(out), *words, *COMMON]) == 0
    return out


def points(folder: Path) -> tuple[list[str], np.ndarray]:
    rows = list(csv.DictReader((folder / "volumes" / "latents.csv").read_text().splitlines()))
    return [row["name"] for row in rows], np.array([[float(row["z1"]), float(row["z2"])] for row in rows])


def test_the_latents_of_a_run_give_its_maps_again(run, tmp_path) -> None:
    out = decode(run, tmp_path / "out", "--latents", str(run / "volumes" / "latents.csv"))
    assert points(out)[0] == points(run)[0]
    for name in points(run)[0]:
        first, second = (read_map(folder / "volumes" / f"{name}.mrc") for folder in (run, out))
        np.testing.assert_allclose(first.values, second.values, rtol=1e-4, atol=1e-5)
    assert (out / "report.html").exists()


def test_ways_have_the_ends_and_the_points_that_were_asked_for(run, tmp_path) -> None:
    latents = np.load(run / "latents.npz")
    ids = [str(latents["ids"][row]) for row in (3, 40)]
    line = decode(run, tmp_path / "line", "--along", "line", "--ends", *ids, "--points", "5")
    names, z = points(line)
    assert names == [f"line_{k:03d}" for k in range(1, 6)]
    np.testing.assert_allclose(z, np.linspace(latents["z"][3], latents["z"][40], 5), rtol=1e-5, atol=1e-6)
    _, way = points(decode(run, tmp_path / "path", "--along", "path", "--ends", *ids, "--points", "9"))
    np.testing.assert_allclose(way[[0, -1]], latents["z"][[3, 40]], rtol=1e-6)
    nearest = np.abs(way[:, None] - latents["z"]).sum(2).min(1)
    straight = np.abs(np.linspace(z[0], z[-1], 9)[:, None] - latents["z"]).sum(2).min(1)
    assert nearest.mean() <= straight.mean()
    _, along = points(decode(run, tmp_path / "pc2", "--along", "pc2", "--points", "4"))
    steps = np.diff(along, axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], (3, 2)), atol=1e-5)


def test_chimerax_opens_every_map_in_order(run, tmp_path) -> None:
    out = decode(run, tmp_path / "out", "--along", "pc1", "--points", "3")
    opened, played = (out / "movie.cxc").read_text().splitlines()
    assert opened.split() == ["open", *(f"volumes/pc1_00{k}.mrc" for k in (1, 2, 3)), "vseries", "true"]
    assert played.startswith("vseries play #1")
    assert all((out / name).exists() for name in opened.split()[1:4])
    assert "along pc1" in (out / "report.html").read_text()


def test_more_maps_than_the_disk_holds_are_refused(run, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("vitreous.cli.decode.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1e9, 1e9, 1e5))
    out = tmp_path / "a" / "out"
    assert main(["decode", "--run", str(run), "--along", "pc1", "--points", "1000000000000", "-o", str(out)]) == 2
    assert "no room for 1000000000000 maps" in capsys.readouterr().err
    assert main(["decode", "--run", str(run), "--along", "pc1", "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert "no room for 20 maps of 32³ voxels (expected 3 MB, found 0 MB). Decode fewer" in said
    assert not out.exists()


def test_latents_without_names_are_numbered(run, tmp_path) -> None:
    (tmp_path / "z.csv").write_text("z1,z2\n0,0\n1.5,-1\n")
    assert points(decode(run, tmp_path / "out", "--latents", str(tmp_path / "z.csv")))[0] == ["map_001", "map_002"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("z1,z2,z3\n0,0,0\n", "expected 2 coordinates"),
        ("a,b\n0,0\n", "no latents"),
        ("z1,z2\n0,x\n", "no latents"),
        ("z1,z2\n0\n", "no latents"),
        ("z1,z2\n", "no latents"),
        ("z1,z2\n0,nan\n", "no latents"),
        ("name,z1,z2\n../a,0,0\n", "cannot be that of a map"),
        ("name,z1,z2\na,0,0\na,1,1\n", "cannot be that of a map"),
    ],
)
def test_tables_that_cannot_be_decoded(run, tmp_path, capsys, text: str, said: str) -> None:
    (tmp_path / "z.csv").write_text(text)
    out = tmp_path / "out"
    assert main(["decode", "--run", str(run), "--latents", str(tmp_path / "z.csv"), "-o", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["other/latents.npz", "other/volumes/latents.csv", "by_other/latents.npz"])
def test_latents_of_another_run_with_as_many_dimensions_are_refused(run, others, tmp_path, capsys, name: str) -> None:
    words = ["decode", "--run", str(run), "--latents", str(run.parent / name), "-o", str(tmp_path / "out"), *COMMON]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"of another run, and mean nothing to this one (expected --run {others['other']}, found --run {run})" in said
    assert main(["evaluate", "latents", str(run), "--known", str(others["by_other"])]) == 2
    assert "of another run" in capsys.readouterr().err


def test_embedded_latents_are_those_of_the_run_until_it_is_made_again(run, others, tmp_path, capsys) -> None:
    embedded = others["by_flex"] / "latents.npz"
    assert len(points(decode(run, tmp_path / "own", "--latents", str(embedded)))[0]) == 64
    state = run / "state.safetensors"
    kept = state.read_bytes()
    state.write_bytes((others["other"] / state.name).read_bytes())
    words = ["decode", "--run", str(run), "--latents", str(embedded), "-o", str(tmp_path / "out"), *COMMON]
    assert main(words) == 2
    state.write_bytes(kept)
    assert "was made again after these latents" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either latents or a way"),
        (["--latents", "x.csv", "--along", "pc1"], "either latents or a way"),
        (["--along", "pc0"], "--along is not known"),
        (["--along", "pc3"], "expected pc1 to pc2"),
        (["--along", "pc1", "--ends", "a", "b"], "--ends belongs"),
        (["--along", "line", "--ends", "1@none.mrcs", "2@none.mrcs"], "names a particle that the run does not have"),
        (["--along", "pc1", "--points", "1"], "--points must be"),
    ],
)
def test_ways_that_cannot_be(run, tmp_path, capsys, words: list[str], said: str) -> None:
    assert main(["decode", "--run", str(run), "-o", str(tmp_path / "x"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
