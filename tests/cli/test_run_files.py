"""Runs that did not come to their end, or are of another command: what is missing is said, and how to come by it."""

import json
from pathlib import Path

import numpy as np
import pytest

from vitreous.cli.main import main
from vitreous.cli.run_files import file_of
from vitreous.errors import InputError
from vitreous.runs.manifest import Manifest

COMMAND = ("vitreous", "flex", "my stack.star", "-o", "run", "--overwrite")
READERS = [
    (["evaluate", "latents", "RUN", "--truth", "t.csv"], "latents.npz"),
    (["evaluate", "latents", "RUN", "--known", "other"], "latents.npz"),
    (["evaluate", "map", "RUN", "--truth", "t.mrc"], "volume.mrc"),
    (["evaluate", "poses", "RUN", "--truth", "t.star"], "particles.star"),
    (["select", "RUN", "--where", "z1 > 0", "-o", "out.star"], "particles.star"),
    (["decode", "--run", "RUN", "--along", "pc1", "-o", "out"], "state.safetensors"),
    (["embed", "new.star", "--run", "RUN", "-o", "out"], "state.safetensors"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a run that was killed."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Manifest("flex", COMMAND, {"common": {"device": "auto"}}).write(Path("run"))
    return Path("run")


@pytest.mark.parametrize(("words", "name"), READERS)
def test_an_unfinished_run_is_finished_by_the_command_that_is_named(run, capsys, words: list[str], name: str) -> None:
    assert main([str(run) if word == "RUN" else word for word in words]) == 2
    said = capsys.readouterr().err
    assert f"run: this run of vitreous flex has not ended: there is no {name} yet" in said
    assert "`vitreous flex 'my stack.star' -o run --resume`" in said


def test_commands_that_cannot_go_on_begin_again(run) -> None:
    Manifest("decode", ("vitreous", "decode", "-o", "run"), {"common": {}}).write(run)
    with pytest.raises(InputError, match="decode -o run --overwrite`"):
        file_of(run, "latents.npz")


def test_a_finished_run_without_the_file_is_told_from_an_unfinished_one(run) -> None:
    (run / "summary.json").write_text(json.dumps({"verdict": "done"}))
    with pytest.raises(InputError, match=r"a run of vitreous flex leaves no volume.mrc.*refine or reconstruct\.$"):
        file_of(run, "volume.mrc")
    (run / "volumes").mkdir()
    (run / "volumes" / "kmeans_01.mrc").touch()
    with pytest.raises(InputError, match=r"or a file such as run/volumes/kmeans_01.mrc\.$"):
        file_of(run, "volume.mrc")


@pytest.mark.parametrize("name", ["state.safetensors", "latents.npz", "particles.star"])
def test_what_the_command_itself_leaves_was_lost_in_a_copy(run, name: str) -> None:
    (run / "summary.json").write_text(json.dumps({"verdict": "done"}))
    with pytest.raises(InputError, match=f"^run: this run of vitreous flex lacks its {name}: the copy is not") as told:
        file_of(run, name)
    assert str(told.value).endswith("or run `vitreous flex 'my stack.star' -o run --overwrite`.")


def test_a_cut_file_of_latents_is_refused(tmp_path, capsys) -> None:
    path = tmp_path / "latents.npz"
    np.savez(path, ids=np.array(["1@a.mrcs"]), z=np.zeros((1, 2), np.float32))
    path.write_bytes(path.read_bytes()[:200])
    assert main(["evaluate", "latents", str(path), "--truth", "t.csv"]) == 2
    assert f"{path}: the file of latents is damaged. It may be half-copied" in capsys.readouterr().err


def test_folders_that_are_no_run_are_told(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no run of vitreous: there is no latents\.npz"):
        file_of(tmp_path, "latents.npz")
    assert file_of(tmp_path / "any.npz", "latents.npz") == tmp_path / "any.npz"
