"""What a run folder refuses, keeps and removes."""

import json
import os
from contextlib import suppress
from dataclasses import replace

import pytest

from vitreous.errors import ConfigError, InputError, ResourceError
from vitreous.runs.manifest import Manifest, fingerprint, fingerprint_stacks
from vitreous.runs.reader import read_run
from vitreous.runs.store import RunFolder


@pytest.fixture
def manifest():
    return Manifest(name="probe", command=("vitreous", "probe"), config={"stack": "a.star", "common": {"threads": 2}})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_manifest_reads_back_as_written(tmp_path, manifest):
    RunFolder.create(tmp_path / "run", manifest)
    again = Manifest.read(tmp_path / "run")
    assert again.config == manifest.config
    assert (again.name, again.started, again.versions) == (manifest.name, manifest.started, manifest.versions)


def test_failed_run_leaves_nothing_not_even_new_parents(tmp_path, manifest):
    with suppress(ValueError), RunFolder.create(tmp_path / "a" / "b" / "run", manifest) as folder:
        folder.log({"step": 1})
        raise ValueError
    assert names(tmp_path) == []


def test_failed_run_keeps_its_checkpoint(tmp_path, manifest):
    with suppress(ValueError), RunFolder.create(tmp_path / "run", manifest) as folder:
        folder.checkpoint.write_bytes(b"state")
        raise ValueError
    assert names(tmp_path / "run") == ["checkpoint.safetensors", "manifest.yaml"]
    assert not RunFolder.resume(tmp_path / "run").is_finished


def test_failed_run_keeps_a_folder_that_was_there(tmp_path, manifest):
    (tmp_path / "run").mkdir()
    with suppress(ValueError), RunFolder.create(tmp_path / "run", manifest):
        raise ValueError
    assert (tmp_path / "run").is_dir()
    assert names(tmp_path / "run") == []


def test_foreign_folders_are_never_touched(tmp_path, manifest):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="did not make"):
            RunFolder.create(tmp_path, manifest, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_earlier_run_is_replaced_only_on_request_and_foreign_files_stay(tmp_path, manifest):
    folder = RunFolder.create(tmp_path / "run", manifest)
    folder.write_summary({"verdict": "done"})
    (folder.path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        RunFolder.create(folder.path, manifest)
    assert folder.is_finished
    RunFolder.create(folder.path, manifest, overwrite=True).write_summary({"verdict": "again"})
    assert names(folder.path) == ["manifest.yaml", "notes.txt", "summary.json"]
    assert json.loads((folder.path / "summary.json").read_text()) == {"verdict": "again"}


def test_failed_replacement_brings_the_earlier_run_back(tmp_path, manifest):
    folder = RunFolder.create(tmp_path / "run", manifest)
    (folder.path / "volume.mrc").write_bytes(b"map")
    folder.write_summary({"verdict": "done"})
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with suppress(ValueError), RunFolder.create(folder.path, replace(manifest, seed=3), overwrite=True) as second:
        second.log({"step": 1})
        assert not (folder.path / "volume.mrc").exists()
        raise ValueError
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_killed_replacement_does_not_cost_the_earlier_run(tmp_path, manifest):
    folder = RunFolder.create(tmp_path / "run", manifest)
    (folder.path / "volume.mrc").write_bytes(b"map")
    folder.write_summary({"verdict": "done"})
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    RunFolder.create(folder.path, replace(manifest, seed=3), overwrite=True).log({"step": 1})  # and then SIGKILL
    with suppress(ValueError), RunFolder.create(folder.path, replace(manifest, seed=4), overwrite=True):
        raise ValueError
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_unfinished_run_is_called_so(tmp_path, manifest):
    folder = RunFolder.create(tmp_path / "run", manifest)
    with pytest.raises(ConfigError, match=r"unfinished run. --resume goes on with it, --overwrite starts anew"):
        RunFolder.create(folder.path, manifest)


def test_dangling_link_is_named(tmp_path, manifest):
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="a link to a place that does not exist"):
        RunFolder.create(tmp_path / "run", manifest)


@pytest.mark.parametrize("spelling", ["a/../run", "link"])
def test_input_is_recognised_however_the_folder_is_spelled(tmp_path, manifest, spelling):
    folder = RunFolder.create(tmp_path / "run", manifest)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(folder.path)
    star = folder.path / "particles.star"
    star.write_text("data_")
    for given, output in ((star, tmp_path / spelling), (tmp_path / spelling / star.name, folder.path)):
        with pytest.raises(ConfigError, match=r"holds an input, particles.star"):
            RunFolder.create(output, replace(manifest, inputs=(fingerprint(given),)), overwrite=True)
    assert star.read_text() == "data_"


def test_overwriting_never_destroys_inputs_or_other_work(tmp_path, manifest):
    folder = RunFolder.create(tmp_path / "run", manifest)
    star = folder.path / "particles.star"
    star.write_text("data_")
    with pytest.raises(ConfigError, match=r"holds an input, particles.star"):
        RunFolder.create(folder.path, replace(manifest, inputs=(fingerprint(star),)), overwrite=True)
    with pytest.raises(ConfigError, match="a run of vitreous probe"):
        RunFolder.create(folder.path, replace(manifest, name="other"), overwrite=True)
    assert star.read_text() == "data_"
    RunFolder.create(folder.path, manifest, overwrite=True)
    assert not star.exists()


def test_file_in_the_way(tmp_path, manifest):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        RunFolder.create(tmp_path / "run", manifest)
    with pytest.raises(ResourceError):
        RunFolder.create(tmp_path / "run" / "below", manifest)


def test_metrics_are_appended_line_by_line(tmp_path, manifest):
    folder = RunFolder.create(tmp_path / "run", manifest)
    for step in range(3):
        folder.log({"step": step, "loss": 1 / (step + 1)})
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert lines[0]["seconds"] <= lines[2]["seconds"]


@pytest.mark.parametrize(
    "content", [b"", b"a: [", b"- 1", b"vitreous: 1", b"name: \xff", b"\xff\xfe\x00", b"inputs: [1]"]
)
def test_other_yaml_is_not_a_manifest(tmp_path, content):
    (tmp_path / "manifest.yaml").write_bytes(content)
    with pytest.raises(InputError, match="not the manifest"):
        RunFolder.resume(tmp_path)


def test_fingerprint_is_the_digest_that_sha256sum_prints(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    found = fingerprint(tmp_path / "abc")
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (found.bytes, found.hashed) == (3, "whole file")


def test_stack_fingerprint_sees_both_ends_and_the_size(tmp_path):
    file = tmp_path / "a.mrcs"
    base = bytearray(3 << 20)

    def digest(change):
        data = base.copy()
        change(data)
        file.write_bytes(data)
        return fingerprint(file, is_stack=True).sha256

    changes = [
        lambda data: None,
        lambda data: data.__setitem__(0, 1),
        lambda data: data.__setitem__(-1, 1),
        lambda data: data.append(0),
    ]
    assert len({digest(change) for change in changes}) == 4


def test_many_stacks_share_one_entry_that_notices_a_change(tmp_path):
    paths = [tmp_path / f"{i}.mrcs" for i in range(40)]
    for path in paths:
        path.write_bytes(b"0")
    (first,) = fingerprint_stacks(paths)
    assert first.bytes == 40
    assert first == fingerprint_stacks(reversed(paths))[0]
    paths[7].write_bytes(b"00")
    assert fingerprint_stacks(paths)[0].sha256 != first.sha256


def test_bytes_that_are_no_text_in_a_path_do_not_spoil_the_files(tmp_path, manifest):
    name = os.fsdecode(b"caf\xe9.star")
    folder = RunFolder.create(tmp_path / "run", replace(manifest, command=("vitreous", name)))
    folder.write_summary({"warnings": [name, "Å"]})
    assert Manifest.read(folder.path).command[1] == name
    assert read_run(folder.path).summary["warnings"] == [name, "Å"]
