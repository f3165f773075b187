"""Whole commands on particles whose map is known in closed form."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from tests.cli.blobs import blob_map, write_blob_particles
from vitreous.cli.main import main
from vitreous.cli.running import read_with
from vitreous.data import Poses, Volume
from vitreous.geometry.symmetry import point_group
from vitreous.io import ReadOptions, open_particles, write_relion_star
from vitreous.io.maps import read_map, write_map
from vitreous.runs.reader import read_run


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    return write_blob_particles(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def run(star, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "known"
    assert main(["reconstruct", str(star), "-o", str(folder), "--threads", "1", "--quiet", "--contrast", "bright"]) == 0
    return folder


def test_reconstruct_finds_the_map(run):
    found, truth = read_map(run / "volume.mrc"), blob_map()
    correlation = np.corrcoef(found.values.flatten(), truth.values.flatten())[0, 1]
    assert correlation > 0.95
    assert found.voxel_size_A == pytest.approx(truth.voxel_size_A)


def test_run_folder_is_complete_and_readable(run, star):
    read = read_run(run)
    assert read.summary["particles"] == 400
    assert read.summary["resolution_A"] < 12  # blobs of σ 4.8 Å have 3 % of their amplitude there
    assert read.manifest.name == "reconstruct"
    assert list(read.manifest.command[:3]) == ["vitreous", "reconstruct", str(star)]
    assert {f.hashed for f in read.manifest.inputs} == {"whole file", "size, first and last MiB"}
    assert read.curves is not None
    again, before = open_particles(read.particles), open_particles(star)
    torch.testing.assert_close(again.poses.rotations, before.poses.rotations, atol=1e-5, rtol=0)
    assert set(again.half_sets.tolist()) == {1, 2}
    names = {p.name for p in run.iterdir()}
    assert {"volume.mrc", "half1.mrc", "half2.mrc", "mask.mrc", "fsc.csv", "fsc.xml", "report.html"} <= names


def test_run_says_how_its_views_lie_and_what_that_makes_of_the_resolution(run):
    read = read_run(run)
    assert read.summary["sampling_compensation_factor"] == pytest.approx(1, abs=0.05)
    assert read.summary["unsampled_share"] == 0
    resolutions = [read.summary[f"{name}_direction_A"] for name in ("best", "median", "worst")]
    assert resolutions == sorted(resolutions)
    assert resolutions[1] == pytest.approx(read.summary["resolution_A"], rel=0.15)
    assert not any("preferred" in warning for warning in read.summary["warnings"])
    assert float(read.cones.resolution_A.quantile(0.5)) == pytest.approx(resolutions[1], rel=1e-5)
    assert "Resolution by direction" in (run / "report.html").read_text(encoding="utf-8")


def test_preferred_views_are_said(star, tmp_path, capsys):
    some, folder = tmp_path / "some.star", tmp_path / "run"
    assert main(["select", str(star), "--where", "rlnAngleTilt < 45 or rlnAngleTilt > 135", "-o", str(some)]) == 0
    assert main(["reconstruct", str(some), "-o", str(folder), "--contrast", "bright"]) == 0
    assert "Views are strongly preferred" in capsys.readouterr().err
    assert read_run(folder).summary["unsampled_share"] > 0.2  # 29 % are more than 45° from every slice


def test_symmetry_fills_what_the_views_leave_out(star, tmp_path, capsys):
    some = tmp_path / "some.star"
    assert main(["select", str(star), "--where", "rlnAngleTilt < 45 or rlnAngleTilt > 135", "-o", str(some)]) == 0
    words = ["reconstruct", str(some), "--contrast", "bright", "--symmetry", "O", "-o", str(tmp_path / "run")]
    assert main(words) == 0
    assert read_run(tmp_path / "run").summary["unsampled_share"] == 0
    assert "preferred" not in capsys.readouterr().err


def test_manifest_is_a_config_and_gives_the_same_map(run, tmp_path, capsys):
    words = ["reconstruct", "--config", str(run / "manifest.yaml"), "-o", str(tmp_path / "again"), "--quiet"]
    assert main(words) == 0, capsys.readouterr().err
    maps = [read_map(folder / "volume.mrc").values for folder in (run, tmp_path / "again")]
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=1e-4 * float(maps[0].abs().max()))
    first, second = (yaml.safe_load((f / "manifest.yaml").read_text()) for f in (run, tmp_path / "again"))
    first["config"].pop("output")
    second["config"].pop("output")
    assert first["config"] == second["config"]


def test_finished_run_is_left_alone_by_resume(run, star, capsys):
    before = (run / "volume.mrc").stat().st_mtime_ns
    words = ["reconstruct", str(star), "-o", str(run)]
    assert main([*words, "--resume"]) == 0
    assert (run / "volume.mrc").stat().st_mtime_ns == before
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_resume_refuses_other_options_and_contents_by_name(star, tmp_path, capsys):
    folder, words = tmp_path / "run", ["reconstruct", str(star), "-o", str(tmp_path / "run")]
    assert main([*words, "--quiet"]) == 0
    (folder / "summary.json").unlink()
    assert main([*words, "--resume", "--symmetry", "C2"]) == 2
    assert "differs from it in --symmetry (C1, now C2)" in capsys.readouterr().err
    other = tmp_path / "other.star"
    other.write_text(star.read_text() + "\n")
    assert main(["reconstruct", str(other), "-o", str(folder), "--resume"]) == 2
    assert "other.star" in capsys.readouterr().err


def test_resume_takes_the_same_file_by_another_path(star, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    assert main(["reconstruct", str(star), "-o", str(folder), "--quiet"]) == 0
    (folder / "summary.json").unlink()
    monkeypatch.chdir(star.parent)
    words = ["-o", str(folder), "--quiet", "--resume"]
    assert main(["reconstruct", f"./{star.name}", *words]) == 0
    (folder / "summary.json").unlink()
    copy = star.with_name("copy.star")
    shutil.copy(star, copy)
    assert main(["reconstruct", str(copy), *words]) == 0
    copy.unlink()


def test_evaluate_poses_of_the_truth_is_perfect(star, tmp_path, capsys):
    file = tmp_path / "poses.json"
    assert main(["evaluate", "poses", str(star), "--truth", str(star), "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["median_deg"] < 0.01
    assert figures["hand"] == "same"
    assert "median_deg" in capsys.readouterr().out


def test_evaluate_poses_names_the_flag_for_files_that_differ(star, tmp_path, capsys):
    some = tmp_path / "some.star"
    assert main(["select", str(star), "--where", "rlnAngleTilt < 60", "-o", str(some)]) == 0
    assert main(["evaluate", "poses", str(some), "--truth", str(star)]) == 2
    assert "--shared-only" in capsys.readouterr().err


def test_evaluate_map_gives_the_resolution(run, tmp_path, capsys):
    write_map(tmp_path / "truth.mrc", blob_map())
    file = tmp_path / "map.json"
    words = ["evaluate", "map", str(run), "--truth", str(tmp_path / "truth.mrc"), "--aligned", "--json", str(file)]
    assert main(words) == 0, capsys.readouterr().err
    figures = json.loads(file.read_text())
    assert figures["resolution_05_A"] < 12  # blobs of σ 4.8 Å have no signal beyond
    assert "resolution_05_A" in capsys.readouterr().out


def test_select_writes_exactly_the_rows(star, tmp_path, capsys):
    out = tmp_path / "some.star"
    assert main(["select", str(star), "--where", "rlnAngleTilt < 60 and rlnOriginXAngst > 0", "-o", str(out)]) == 0
    columns = open_particles(star).table.particles
    expected = (columns["rlnAngleTilt"] < 60) & (columns["rlnOriginXAngst"] > 0)
    chosen = open_particles(out)
    assert len(chosen) == expected.sum()
    assert [int(i.split("@")[0]) for i in chosen.ids] == (1 + np.flatnonzero(expected)).tolist()
    assert set(columns) <= set(chosen.table.particles)
    assert main(["select", str(star), "--where", "rlnAngleTilt < -1", "-o", str(tmp_path / "none.star")]) == 2
    assert not (tmp_path / "none.star").exists()
    assert main(["select", str(star), "--where", "rlnAngleTilt > 0", "-o", str(out)]) == 2


def test_select_reads_latents_by_id(star, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    particles = open_particles(star)
    from vitreous.data import Result
    from vitreous.runs.manifest import Manifest
    from vitreous.runs.store import RunFolder

    z = torch.arange(400.0)[:, None]
    made = RunFolder.create(folder, Manifest(name="probe", command=(), config={}))
    made.write_result(Result(latents=z), particles)
    archive = dict(np.load(folder / "latents.npz"))
    order = np.random.default_rng(0).permutation(400)
    np.savez(folder / "latents.npz", ids=archive["ids"][order], z=archive["z"][order])
    assert main(["select", str(folder), "--where", "z1 < 10", "-o", str(tmp_path / "some.star")]) == 0
    chosen = open_particles(tmp_path / "some.star")
    assert [int(i.split("@")[0]) for i in chosen.ids] == list(range(1, 11))


def test_every_file_that_is_read_is_an_input_and_is_never_overwritten(star, tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["reconstruct", str(star), "-o", str(folder), "--quiet", "--contrast", "bright"]
    assert main([*words, "--poses", str(star), "--ctf", "none"]) == 0, capsys.readouterr().err
    poses, link = folder / "particles.star", tmp_path / "link"
    link.symlink_to(folder)
    before = poses.read_bytes()
    for name in ("particles.star", "mask.mrc"):
        flag = "--poses" if name == "particles.star" else "--mask"
        again = [*words[:3], str(link), *words[4:], flag, str(folder / name), "--overwrite"]
        assert main(again) == 2
        assert f"holds an input, {name}" in capsys.readouterr().err
    assert poses.read_bytes() == before
    options = ReadOptions(passthrough=[tmp_path / "a.cs"], poses=poses, ctf=tmp_path / "b.csv")
    assert read_with(options) == [tmp_path / "a.cs", poses, tmp_path / "b.csv"]


def test_a_terminal_without_the_characters_ends_no_run(star, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "LC_ALL": "C"}
    program = "import sys; from vitreous.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "reconstruct", str(star), "-o", str(folder), "--contrast", "bright"]
    done = subprocess.run(words, env=os.environ | plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resolution" in done.stdout
    assert (folder / "report.html").exists()
    assert read_run(folder).summary["verdict"] == "done"


def test_a_report_that_fails_costs_a_warning_only(star, tmp_path, capsys, monkeypatch):
    def fail(folder):
        raise ValueError("no ink")

    monkeypatch.setattr("vitreous.report.write_report", fail)
    assert main(["reconstruct", str(star), "-o", str(tmp_path / "run"), "--contrast", "bright"]) == 0
    assert "the results are complete (ValueError: no ink)" in capsys.readouterr().err


def test_a_diagnosis_that_fails_costs_a_warning_only(star, tmp_path, capsys, monkeypatch):
    def fail(*given):
        raise ValueError("no cones")

    monkeypatch.setattr("vitreous.analysis.anisotropy.with_orientations", fail)
    assert main(["reconstruct", str(star), "-o", str(tmp_path / "run"), "--contrast", "bright"]) == 0
    assert "could not be computed (ValueError: no cones)" in capsys.readouterr().err
    assert read_run(tmp_path / "run").cones is None


def test_config_that_is_not_text(star, tmp_path, capsys):
    (tmp_path / "options.yaml").write_bytes(b"symmetry: \xff")
    words = ["reconstruct", str(star), "-o", str(tmp_path / "run"), "--config", str(tmp_path / "options.yaml")]
    assert main(words) == 2
    assert "not text in UTF-8" in capsys.readouterr().err


def test_a_finished_run_says_which_options_it_does_not_have(run, star, capsys):
    words = ["reconstruct", str(star), "-o", str(run), "--resume", "--contrast", "bright"]
    assert main([*words, "--threads", "2"]) == 0
    assert "other options" not in capsys.readouterr().err
    assert main([*words, "--symmetry", "C2", "--seed", "4"]) == 0
    said = capsys.readouterr().err
    assert "--symmetry (C1, now C2)" in said
    assert "--seed (0, now 4)" in said
    assert "--overwrite" in said
    assert main(["refine", *words[1:]]) == 2
    assert "another command" in capsys.readouterr().err


QUICK_SEARCH = (
    *("--iterations", "5", "--minibatch", "60", "--search-radius", "9", "--refine-iterations", "1"),
    *("--patience", "0", "--starts", "1", "--diameter", "50", "--contrast", "bright", "--threads", "1"),
)


@pytest.mark.parametrize("kind", ["map", "poses"])
def test_abinitio_from_a_start_says_beyond_what_its_halves_are_independent(star, tmp_path, capsys, kind):
    write_map(tmp_path / "start.mrc", blob_map())
    given = tmp_path / "start.mrc" if kind == "map" else star
    folder = tmp_path / "run"
    words = ["abinitio", str(star), "-o", str(folder), f"--{kind}", str(given), "--start", "16", *QUICK_SEARCH]
    assert main(words) == 0
    assert "halves independent beyond 16 Å" in capsys.readouterr().out
    read = read_run(folder)
    assert read.summary["independent_beyond_A"] == pytest.approx(16)
    assert read.summary["independent_halves"] == 0
    assert 0 <= read.summary["found_again"] <= 1
    assert str(given) in {file.path for file in read.manifest.inputs}
    assert "gold standard beyond that resolution only" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "words", "part"),
    [
        (
            "abinitio",
            ["--map", "MAP", "--start-A", "30"],
            "--start",
        ),  # 30 Å are below the fourth pixel of a field of 96 Å
        ("abinitio", ["--map", "OTHER"], "another grid"),
        ("abinitio", ["--map", "MAP", "--poses", "STAR"], "exclude each other"),
        ("abinitio", ["--map", "MAP", "--method", "fastar"], "--method fastar"),
        ("abinitio", ["--poses", "STAR", "--method", "fastar"], "--method fastar"),
        ("classify", ["--map", "MAP", "MAP"], "1 or 3 maps"),
        ("classify", ["--map", "MAP", "--start-A", "30"], "--start"),
        ("classify", ["--map", "OTHER"], "another grid"),
        ("classify", ["--symmetry", "auto"], "Name the group"),
    ],
)
def test_starts_that_cannot_be_used_are_refused(star, tmp_path, capsys, command, words, part):
    write_map(tmp_path / "map.mrc", blob_map())
    write_map(tmp_path / "other.mrc", Volume(torch.rand(20, 20, 20), 2.0))
    files = {"MAP": tmp_path / "map.mrc", "OTHER": tmp_path / "other.mrc", "STAR": star}
    asked = [command, str(star), "-o", str(tmp_path / "run"), "--quiet", "--threads", "1"]
    assert main([*asked, *(str(files.get(word, word)) for word in words)]) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["abinitio", "refine", "classify", "reconstruct"])
def test_precision_is_offered_only_where_it_works(star, tmp_path, capsys, command):
    assert main([command, str(star), "-o", str(tmp_path / "run"), "--precision", "bf16-mixed"]) == 2
    assert "no option or place for '--precision'" in capsys.readouterr().err


def test_poses_that_differ_by_symmetry_mates_are_explained(star, tmp_path, capsys):
    truth = open_particles(star)
    mates = point_group("C3")[torch.arange(len(truth)) % 3]
    turned = Poses(truth.poses.rotations @ mates.to(truth.poses.rotations), truth.poses.shifts_A)
    write_relion_star(tmp_path / "turned.star", truth, poses=turned)
    words = ["evaluate", "poses", str(tmp_path / "turned.star"), "--truth", str(star)]
    assert main(words) == 0
    assert "--symmetry C3" in capsys.readouterr().err
    shuffled = Poses(truth.poses.rotations.flip(0), truth.poses.shifts_A)
    write_relion_star(tmp_path / "shuffled.star", truth, poses=shuffled)
    assert main(["evaluate", "poses", str(tmp_path / "shuffled.star"), "--truth", str(star)]) == 0
    assert "--symmetry" not in capsys.readouterr().err
