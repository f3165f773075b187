"""embed: new particles are read as those of the run were, and folders whose files do not belong together are told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
import yaml

from tests.cli.blobs import BOX, PIXEL_SIZE_A, write_blob_particles
from vitreous.cli.main import main
from vitreous.io import open_particles, write_cs, write_relion_star
from vitreous.io.tensors import load_tensors, save_tensors

N, SMALL_BOX = 64, 24
PCA = ["--method", "pca", "--pca.iterations", "2"]
QUICK = ["--method", "cryodrgn", "--encoder-width", "16", "--decoder-width", "16"]
QUICK += ["--encoder-layers", "1", "--decoder-layers", "1"]
COMMON = ["--threads", "1", "--quiet"]


def flex(stack: Path, output: Path, *words: str) -> Path:
    assert main(["flex", str(stack), "-o", str(output), "--dims", "2", "--clusters", "3", *COMMON, *words]) == 0
    return output


def embedded(stack: Path, run: Path, output: Path, *words: str) -> np.ndarray:
    assert main(["embed", str(stack), "--run", str(run), "-o", str(output), *COMMON, *words]) == 0
    return latents(output)


def latents(run: Path) -> np.ndarray:
    return np.load(run / "latents.npz")["z"]


def warnings(run: Path) -> str:
    return "\n".join(json.loads((run / "summary.json").read_text())["warnings"])


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run a command line that must be refused in one line; return it."""
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def inverted(star: Path, folder: Path) -> Path:
    """Copy a table and its stack, whose images are multiplied by −1."""
    for name in (star.name, "particles.mrcs"):
        shutil.copy(star.with_name(name), folder)
    with mrcfile.mmap(folder / "particles.mrcs", mode="r+") as stack:
        stack.data[...] *= -1
    return folder / star.name


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_particles(tmp_path_factory.mktemp("bright"), n=N)


@pytest.fixture(scope="module")
def dark(bright: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inverted(bright, tmp_path_factory.mktemp("dark"))


@pytest.fixture(scope="module")
def dark_run(dark: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that found by itself that its particles are dark on bright."""
    return flex(dark, tmp_path_factory.mktemp("runs") / "dark", *PCA)


@pytest.fixture(scope="module")
def network_run(bright: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "cryodrgn"
    return flex(bright, output, *QUICK, "--epochs", "1", "--batch", "16", "--contrast", "bright")


def first_of(stack: Path, folder: Path) -> Path:
    one = open_particles(stack, contrast="bright").select(torch.arange(1))
    write_relion_star(folder / "one.star", one)
    return folder / "one.star"


def test_one_particle_alone_has_the_contrast_of_the_run(dark, dark_run, tmp_path) -> None:
    one = first_of(dark, tmp_path)
    alone = embedded(one, dark_run, tmp_path / "alone")
    np.testing.assert_allclose(alone, latents(dark_run)[:1], atol=1e-3)
    assert "multiplied by -1 (as in the run" in warnings(tmp_path / "alone")
    other = embedded(one, dark_run, tmp_path / "other", "--contrast", "bright")
    assert np.abs(other - alone).max() > 0.1


def test_images_that_look_otherwise_than_those_of_the_run_are_warned_of(bright, dark_run, tmp_path) -> None:
    embedded(bright, dark_run, tmp_path / "new")
    assert "look bright on dark, against those of the run" in warnings(tmp_path / "new")


def test_a_contrast_that_was_given_to_the_run_is_that_of_new_particles(bright, dark, tmp_path) -> None:
    run = flex(bright, tmp_path / "run", *PCA, "--contrast", "dark")
    np.testing.assert_allclose(embedded(bright, run, tmp_path / "new"), latents(run), atol=1e-3)
    assert "against those of the run" in warnings(tmp_path / "new")


def test_a_file_that_states_its_contrast_is_followed(bright, dark_run, tmp_path) -> None:
    write_cs(tmp_path / "new.cs", open_particles(bright, contrast="bright"))
    found = embedded(tmp_path / "new.cs", dark_run, tmp_path / "new")
    np.testing.assert_allclose(found, latents(dark_run), atol=1e-3)


def test_larger_images_of_the_same_field_are_brought_to_the_box_of_the_run(bright, tmp_path, capsys) -> None:
    run = flex(bright, tmp_path / "run", *PCA, "--contrast", "bright", "--box", str(SMALL_BOX))
    np.testing.assert_allclose(embedded(bright, run, tmp_path / "new"), latents(run), atol=1e-3)
    words = ["embed", bright, "--run", run, "-o", tmp_path / "no", *COMMON]
    line = refused(capsys, *words, "--pixel-size-A", str(1.1 * PIXEL_SIZE_A))
    assert f"found {BOX} px" in line
    assert f"--box {SMALL_BOX}" in line
    assert f"found {BOX - 4} px" in refused(capsys, *words, "--box", str(BOX - 4))
    assert not (tmp_path / "no").exists()


def cut_latents(run: Path, other: Path) -> str:
    whole = (run / "latents.npz").read_bytes()
    (run / "latents.npz").write_bytes(whole[:300])
    return "latents.npz: the file of latents is damaged"


def other_latents(run: Path, other: Path) -> str:
    found = np.load(run / "latents.npz")
    np.savez(run / "latents.npz", ids=found["ids"], z=found["z"][:, :1])
    return "latents.npz are not those of state.safetensors (expected 2 numbers for each particle, found 1)"


def other_state(run: Path, other: Path) -> str:
    shutil.copy(other / "state.safetensors", run)
    return "of state.safetensors are not those of the options in manifest.yaml"


def other_width(run: Path, other: Path) -> str:
    path = run / "manifest.yaml"
    plain = yaml.safe_load(path.read_text())
    plain["config"]["network"]["decoder_width"] = 17
    path.write_text(yaml.safe_dump(plain))
    return "of state.safetensors are not those of the options in manifest.yaml"


def part_of_state(run: Path, other: Path) -> str:
    state = load_tensors(run / "state.safetensors")[0]
    save_tensors(run / "state.safetensors", {name: value for name, value in state.items() if name != "box"})
    return "of state.safetensors are not those of the options in manifest.yaml"


def no_state(run: Path, other: Path) -> str:
    (run / "state.safetensors").unlink()
    return "this run of vitreous flex lacks its state.safetensors: the copy is not whole"


def no_latents(run: Path, other: Path) -> str:
    (run / "latents.npz").unlink()
    return "this run of vitreous flex lacks its latents.npz: the copy is not whole"


@pytest.mark.parametrize(
    "damage", [cut_latents, other_latents, other_state, other_width, part_of_state, no_state, no_latents]
)
def test_folders_whose_files_do_not_belong_together_are_told(
    network_run, dark_run, bright, tmp_path, capsys, damage: Callable[[Path, Path], str]
) -> None:
    run = Path(shutil.copytree(network_run, tmp_path / "copy"))
    said = damage(run, dark_run)
    line = refused(capsys, "embed", bright, "--run", run, "-o", tmp_path / "new", *COMMON)
    assert str(run) in line
    assert said in line
    assert "opy the" in line
    assert "flex" in line or "run its command again" in line


def test_the_flag_of_another_run_is_named_as_it_is_called(network_run, dark_run, bright, tmp_path, capsys) -> None:
    new = tmp_path / "new"
    embedded(bright, network_run, new)
    capsys.readouterr()
    words = ["embed", str(bright), "--run", str(dark_run), "-o", str(new), "--threads", "1", "--resume"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"--run ({network_run}, now {dark_run})" in said
    assert "--run-folder" not in said
