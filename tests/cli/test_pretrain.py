"""``vitreous pretrain`` as a whole, on a network of a few thousand parameters."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
import yaml

from vitreous.cli.main import main
from vitreous.io.tensors import load_tensors
from vitreous.methods.fastar.curriculum import CURRICULUM
from vitreous.methods.fastar.published import load_network
from vitreous.simulate.corpus import RESIDUE_NAMES, Corpus

SMALL = [
    *("--model.width", "16", "--model.heads", "1", "--model.maps", "0"),
    *("--model.encoder-depth", "1", "--model.decoder-depth", "1"),
    *("--batch-views", "8", "--chunks", "2", "--views.beads", "30", "--log-every", "1", "--checkpoint-minutes", "1e-9"),
    *("--threads", "1", "--device", "cpu", "--quiet"),
]


def pretrain(folder: Path, *words: str) -> int:
    return main(["pretrain", "-o", str(folder), *SMALL, *words])


def curve(folder: Path) -> dict[int, tuple[float, ...]]:
    """The last word on every step: a step that was done twice has two lines."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: (line["loss"], line["slice"], line["shift"], line["learning_rate"]) for line in lines}


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    tensors, _ = load_tensors(folder / "checkpoint.safetensors")
    return tensors


def assert_same_state(first: Path, second: Path) -> None:
    a, b = parameters(first), parameters(second)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6, msg=name)


def assert_same_curve(first: Path, second: Path) -> None:
    """Equal but for the last digits: a matrix product may add in another order where its memory is aligned otherwise.

    Other random numbers, a lost moment or a lost step would show in the first digits.
    """
    a, b = curve(first), curve(second)
    assert list(a) == list(b)
    for step, found in a.items():
        assert found == pytest.approx(b[step], rel=1e-5), step


@pytest.fixture(scope="module", autouse=True)
def _started_pools() -> None:
    """Start numba's threads, which sets those of torch as well, before threads are counted."""
    numba.set_num_threads(1)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain") / "whole"
    assert pretrain(folder, "--steps", "6") == 0
    return folder


def test_leg_leaves_weights_that_say_what_they_are(whole: Path) -> None:
    network, card = load_network(whole / "weights.safetensors")
    assert (card.steps, card.images) == (6, 48)
    assert card.training_data == "random blobs"
    assert (network.config.width, network.config.decoder_depth) == (16, 1)
    average = {n.removeprefix("average.network."): v for n, v in parameters(whole).items() if n.startswith("average.")}
    for name, value in network.state_dict().items():
        assert torch.equal(value, average[name].half().float()), name


def test_folder_tells_curve_and_options(whole: Path) -> None:
    assert list(curve(whole)) == [1, 2, 3, 4, 5, 6]
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["verdict"], summary["steps"], summary["views"]) == ("done", 6, 48)
    config = yaml.safe_load((whole / "manifest.yaml").read_text())["config"]
    assert config["model"]["width"] == 16
    assert [stage["views_seen"] for stage in config["curriculum"]][:2] == [stage.views_seen for stage in CURRICULUM][:2]


def test_two_legs_are_one(whole: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--steps", "2") == 0
    assert pretrain(tmp_path / "run", "--steps", "6", "--resume") == 0
    assert_same_curve(tmp_path / "run", whole)
    assert_same_state(tmp_path / "run", whole)


def test_leg_goes_on_elsewhere_from_shards(whole: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path / "here", "--steps", "3", "--shards", str(tmp_path / "shards")) == 0
    assert pretrain(tmp_path / "there", "--steps", "6", "--start", str(tmp_path / "shards")) == 0
    assert list(curve(tmp_path / "there")) == [4, 5, 6]
    for step, found in curve(tmp_path / "there").items():
        assert found == pytest.approx(curve(whole)[step], rel=0.05)  # moments are kept in a byte


def test_curriculum_comes_from_a_config_file(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    stages = [{"views_seen": 1000, "views": 4, "snr": [2.0, 2.0], "shift": 0.0}]
    config.write_text(yaml.safe_dump({"curriculum": stages}))
    assert pretrain(tmp_path / "run", "--steps", "1", "--config", str(config)) == 0
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["snr"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--minutes"),
        (("--steps", "1", "--devices", "3"), "--devices"),
        (("--steps", "1", "--model.width", "18"), "--model.width"),
        (("--steps", "1", "--corpus", "nowhere.npz"), "nowhere.npz"),
        (("--steps", "1", "--devices", "0"), "--devices"),
        (("--steps", "0"), "--steps"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(words, told: str, tmp_path: Path, capsys) -> None:
    assert pretrain(tmp_path / "run", *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_shards_in_place_of_the_run_are_refused_before_training(tmp_path: Path, capsys) -> None:
    assert pretrain(tmp_path / "run", "--steps", "1", "--shards", str(tmp_path / "run")) == 2
    assert "folder of their own" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_small_corpus_trains_unscored_and_is_not_dropped_by_a_later_leg(tmp_path: Path, capsys) -> None:
    corpus = tmp_path / "c.npz"
    small_corpus(split=0).save(corpus)
    assert pretrain(tmp_path / "run", "--steps", "1", "--corpus", str(corpus)) == 0
    assert any("not scored" in warning for warning in warnings_of(tmp_path / "run"))
    assert load_network(tmp_path / "run" / "weights.safetensors")[1].figures == {}
    assert pretrain(tmp_path / "run", "--steps", "2", "--resume") == 2
    assert "--corpus" in capsys.readouterr().err
    small_corpus(split=1).save(corpus)
    assert pretrain(tmp_path / "other", "--steps", "1", "--corpus", str(corpus)) == 2
    assert "no asymmetric structure" in capsys.readouterr().err


def small_corpus(split: int) -> Corpus:
    points = 30 * np.random.default_rng(0).standard_normal((400, 3))
    return Corpus(
        ids=np.array(["s"]),
        structure_offsets=np.arange(2),
        chain_offsets=np.array([0, 400]),
        points_A=points.astype(np.float32),
        residues=np.zeros(400, np.uint8),
        residue_names=np.array(RESIDUE_NAMES),
        split=np.array([split], np.int8),
        family=np.zeros(1, np.int32),
        self_overlap=np.array([0.5], np.float32),
    )


def warnings_of(folder: Path) -> list[str]:
    return json.loads((folder / "summary.json").read_text())["warnings"]


def test_resume_of_nothing_says_so(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--steps", "1", "--resume") == 0
    assert any("no run to go on with" in warning for warning in warnings_of(tmp_path / "run"))


def test_other_network_in_the_folder_is_refused(whole: Path, capsys) -> None:
    before = (whole / "checkpoint.safetensors").read_bytes()
    assert pretrain(whole, "--steps", "8", "--resume", "--model.decoder-depth", "2") == 2
    assert "--model.decoder-depth" in capsys.readouterr().err
    assert pretrain(whole, "--steps", "8") == 2
    assert "--resume" in capsys.readouterr().err
    assert (whole / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.slow
def test_run_killed_at_any_moment_resumes_with_the_same_curve(tmp_path: Path) -> None:
    def words(folder: str) -> list[str]:
        return [sys.executable, "-m", "vitreous", "pretrain", "-o", str(tmp_path / folder), *SMALL, "--steps", "40"]

    process = subprocess.Popen(words("run"))
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 60
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 7:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = len(metrics.read_text().splitlines())
    assert 7 <= done < 40
    subprocess.run([*words("run"), "--resume"], check=True)
    subprocess.run(words("whole"), check=True)
    assert_same_curve(tmp_path / "run", tmp_path / "whole")
    assert_same_state(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_train_what_one_does(whole: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path / "two", "--steps", "6", "--devices", "2") == 0
    for step, found in curve(tmp_path / "two").items():
        assert found[:2] == pytest.approx(curve(whole)[step][:2], rel=1e-2)  # root mean squares do not add up
