"""Whatever is wrong with the input, the program says so in one line, exits with 2 and leaves nothing behind."""

import errno
import os
from pathlib import Path

import mrcfile
import pytest
import torch

from tests.cli.blobs import BOX, PIXEL_SIZE_A, write_blob_particles
from tests.io.bad_inputs import OPTION_TABLE, TABLE
from vitreous.cli.main import main
from vitreous.data import Volume
from vitreous.io.maps import write_map


@pytest.fixture(scope="module")
def star(tmp_path_factory) -> Path:
    return write_blob_particles(tmp_path_factory.mktemp("good"), n=40)


def refused(capsys, *words: str | Path) -> str:
    """Run a command line that must be refused; return the line that says why."""
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("vitreous: warning: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("vitreous: error: ")
    assert lines[0].endswith((".", "?"))
    return lines[0]


@pytest.mark.parametrize("build", [case[1] for case in TABLE], ids=[case[0] for case in TABLE])
def test_malformed_particles(tmp_path, capsys, build):
    (tmp_path / "in").mkdir()
    refused(capsys, "reconstruct", build(tmp_path / "in"), "-o", tmp_path / "out" / "run", "--quiet")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("build", [case[1] for case in OPTION_TABLE], ids=[case[0] for case in OPTION_TABLE])
def test_malformed_companions(tmp_path, capsys, monkeypatch, build):
    monkeypatch.chdir(tmp_path)
    stack, options = build(tmp_path)
    flags = [word for name, path in options.items() for word in (f"--{name}", path)]
    refused(capsys, "reconstruct", stack, "-o", tmp_path / "out", "--quiet", *flags)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--symetry", "C2"], "Did you mean --symmetry?"),
        (["--symmetry", "C0"], "C0"),
        (["--symmetry", "banana"], "BANANA"),
        (["--device", "tpu"], "--device"),
        (["--device", "cuda:99"], "GPU|CUDA"),
        (["--precision", "16-mixed"], "--precision"),
        (["--precision", "half"], "--precision"),
        (["--threads", "0"], "--threads"),
        (["--threads", "two"], "--threads"),
        (["--mask", "none.mrc"], "none.mrc"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--box", "1000"], "box"),
        (["--pixel-size", "-1"], "pixel"),
        (["--contrast", "grey"], "--contrast"),
        (["more.star"], "more.star"),
    ],
)
def test_wrong_options(star, tmp_path, capsys, words, part):
    line = refused(capsys, "reconstruct", star, "-o", tmp_path / "run", "--quiet", *words)
    assert any(p in line for p in part.split("|"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", [["recontsruct"], ["evaluate", "pose"], ["evaluate", "poses"], ["select"], ["refine"]]
)
def test_wrong_commands(capsys, words):
    refused(capsys, *words)


def test_missing_output_is_named(star, capsys):
    assert "--output" in refused(capsys, "reconstruct", star)


def test_foreign_folder_and_file_as_output(star, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert "did not make" in refused(capsys, "reconstruct", star, "-o", tmp_path, "--overwrite")
    assert "a file" in refused(capsys, "reconstruct", star, "-o", tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(star, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "permission denied" in refused(capsys, "reconstruct", star, "-o", tmp_path / "run", "--quiet")


def test_folder_that_the_system_refuses(star, capsys):
    line = refused(capsys, "reconstruct", star, "-o", "/proc/vitreous/run", "--quiet")
    assert "/proc/vitreous" in line


@pytest.mark.parametrize("full_file", ["manifest.yaml", "volume.mrc", "particles.star", "summary.json"])
def test_disk_that_is_full(star, tmp_path, capsys, monkeypatch, full_file):
    """Every file is written whole under a temporary name, so the disk fills when that is renamed at the latest."""
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if Path(target).name == full_file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    line = refused(capsys, "reconstruct", star, "-o", tmp_path / "out" / "run", "--quiet")
    assert "full" in line
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_no_folder(star, tmp_path, capsys, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vitreous.cli.reconstruct.reconstruct_halves", interrupt)
    assert main(["reconstruct", str(star), "-o", str(tmp_path / "run"), "--quiet"]) == 130
    assert capsys.readouterr().err == "vitreous: interrupted\n"
    assert not (tmp_path / "run").exists()


def test_too_little_memory_is_said_before_the_start(star, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vitreous.compute.memory.available_memory_bytes", lambda: 1_000_000)
    line = refused(capsys, "reconstruct", star, "-o", tmp_path / "run", "--quiet")
    assert "memory" in line
    assert not (tmp_path / "run").exists()


def test_too_few_particles_for_ab_initio(star, tmp_path, capsys):
    assert "too few particles" in refused(capsys, "abinitio", star, "-o", tmp_path / "run", "--quiet")
    assert not (tmp_path / "run").exists()


def test_evaluate_without_poses_or_truth(star, tmp_path, capsys):
    assert "none.star" in refused(capsys, "evaluate", "poses", star, "--truth", tmp_path / "none.star")
    assert "none.mrc" in refused(capsys, "evaluate", "map", tmp_path / "none.mrc", "--truth", tmp_path / "none.mrc")


def test_select_refuses(star, tmp_path, capsys):
    out = tmp_path / "out.star"
    assert "no column" in refused(capsys, "select", star, "-o", out, "--where", "rlnNothing > 1")
    assert "none of 40" in refused(capsys, "select", star, "-o", out, "--where", "rlnAngleTilt < -1")
    assert ".star" in refused(capsys, "select", star, "-o", tmp_path / "out.csv", "--where", "rlnAngleTilt > 1")
    assert not out.exists()


def test_select_leaves_out_what_cannot_be_used(tmp_path, capsys):
    star = write_blob_particles(tmp_path, n=40)
    with mrcfile.mmap(star.with_suffix(".mrcs"), mode="r+") as stack:
        stack.data[[3, 17]] = 0.0
    line = refused(capsys, "reconstruct", star, "-o", tmp_path / "run", "--quiet")
    assert "4@particles.mrcs is constant" in line
    assert "`vitreous select STACK --usable -o good.star`" in line
    good = tmp_path / "good.star"
    assert main(["select", str(star), "--usable", "-o", str(good)]) == 0
    assert "38 of 40" in capsys.readouterr().out
    assert main(["reconstruct", str(good), "-o", str(tmp_path / "run"), "--quiet"]) == 0
    capsys.readouterr()
    assert "there is no condition" in refused(capsys, "select", star, "-o", tmp_path / "none.star")


@pytest.mark.parametrize("command", ["reconstruct", "abinitio"])
def test_unfit_mask_is_refused_before_anything_is_computed(star, tmp_path, capsys, monkeypatch, command):
    write_map(tmp_path / "mask.mrc", Volume(torch.zeros(BOX, BOX, BOX), PIXEL_SIZE_A))
    monkeypatch.setattr(f"vitreous.cli.{command}.announce", lambda *_: pytest.fail("computing began"))
    line = refused(capsys, command, star, "-o", tmp_path / "run", "--mask", tmp_path / "mask.mrc", "--quiet")
    assert "--mask is empty" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", [("--seed", "1180591620717411303424"), ("--bfactor", "nan"), ("--bfactor=-1e9",)], ids=" ".join
)
def test_numbers_out_of_range(star, tmp_path, capsys, words):
    assert "is out of range" in refused(capsys, "reconstruct", star, "-o", tmp_path / "run", *words)


@pytest.mark.parametrize("words", [("--seed", str(2**70)), ("--seed=-1",), ("--search-radius", "101")], ids=" ".join)
def test_search_numbers_out_of_range(star, tmp_path, capsys, words):
    assert "is out of range" in refused(capsys, "abinitio", star, "-o", tmp_path / "run", *words)
