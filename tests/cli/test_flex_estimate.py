"""What flex says it will take, before it begins: time near what it takes, memory that names the option to lower."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.cli.blobs import BOX, write_blob_particles
from vitreous.cli.flex import Flex
from vitreous.cli.flex_estimate import core_seconds_of, memory_of
from vitreous.cli.main import main
from vitreous.compute.memory import MB
from vitreous.compute.progress import SilentProgress
from vitreous.data import Particles
from vitreous.io import open_particles
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.registry import get
from vitreous.train.config import TrainConfig
from vitreous.train.loop import fit

N, REPORT_SECONDS = 100, 3.0
CPU = torch.device("cpu")
FLEX = Flex(Path("a.star"), Path("out"), method="cryodrgn")
NETWORK = CryoDrgnConfig(epochs=3, decoder_width=128)
METHODS = {
    "cryodrgn": replace(FLEX, network=NETWORK),
    "cryonoo": replace(
        FLEX, method="cryonoo", network=replace(NETWORK, encoder="pixels"), noo=CryoNooConfig(warmup=1.0)
    ),
    "autodecoder": replace(FLEX, method="autodecoder", network=NETWORK),
    "basis": replace(FLEX, network=replace(NETWORK, decoder="basis")),
    "cryoformer": replace(
        FLEX, method="cryoformer", cryoformer=CryoFormerConfig(epochs=1, levels=4, march=0.3, encoder="pixels")
    ),
}


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    return open_particles(write_blob_particles(tmp_path_factory.mktemp("stack"), n=N), contrast="bright")


def trained_seconds(flex: Flex, particles: Particles) -> float:
    """Time on one core that training takes."""
    spent = []

    def train(task):
        started = time.monotonic()
        steps = task.steps_per_epoch * flex.trained.epochs
        parameters = fit(task, TrainConfig(steps, gradient_clip=None, log_every=steps)).parameters
        spent.append(time.monotonic() - started)
        return parameters

    get(flex.method)(flex.dims, *flex.settings).run(particles, SilentProgress(), train)
    return spent[0] * torch.get_num_threads()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_time_that_is_said_is_about_what_training_takes(particles, method: str) -> None:
    flex = METHODS[method]
    assert 0.3 < core_seconds_of(flex, particles, CPU) / (trained_seconds(flex, particles) + REPORT_SECONDS) < 3


def test_time_grows_with_what_is_asked_for_and_not_beyond_the_minutes(particles, monkeypatch) -> None:
    monkeypatch.setattr("vitreous.cli.flex_estimate.seconds_per_point", lambda *_: 1e-4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for method, group in (("cryodrgn", "network"), ("cryoformer", "cryoformer")):
        flex = METHODS[method]
        once, twice = (
            core_seconds_of(replace(flex, **{group: replace(getattr(flex, group), epochs=n)}), particles, CPU)
            for n in (100, 200)
        )
        assert twice == pytest.approx(2 * once, rel=0.1)
        limited = replace(flex, minutes=0.5, **{group: replace(getattr(flex, group), epochs=10_000)})
        rest = core_seconds_of(replace(flex, **{group: replace(getattr(flex, group), epochs=1)}), particles, CPU)
        assert 60 < core_seconds_of(limited, particles, CPU) < 60 + rest


SMALL = ["--decoder-width", "16", "--encoder-width", "16", "--batch", "8", "--epochs", "1"]
NOO = ["--method", "cryonoo", *SMALL, "--epochs", "2", "--noo.warmup", "1", "--noo.expander", "8"]
FORMER = ["--epochs", "1", "--queries", "4", "--channels", "8", "--levels", "2", "--encoder-maps", "2"]


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "cryodrgn", *SMALL],
        [*NOO, "--encoder-maps", "2"],
        [*NOO, "--noo.views", "turned"],
        ["--method", "autodecoder", *SMALL, "--autodecoder.embed-steps", "2"],
        ["--method", "cryoformer", *(word.replace("--", "--cryoformer.") for word in FORMER)],
    ],
)
def test_a_trial_leaves_neither_files_nor_random_numbers_behind(tmp_path, options: list[str]) -> None:
    star = write_blob_particles(tmp_path, n=40)
    words = ["flex", str(star), "--dims", "2", "--contrast", "bright", "--threads", "1", "--clusters", "2", *options]
    states = []
    for name, quiet in (("told", []), ("quiet", ["--quiet"])):
        assert main([*words, *quiet, "-o", str(tmp_path / name)]) == 0
        states.append((tmp_path / name / "state.safetensors").read_bytes())
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--method", "cryoformer", "--cryoformer.queries", "100000"], "--cryoformer.queries"),
        (["--method", "cryoformer", "--cryoformer.encoder-width", "1000000"], "--cryoformer.encoder-width"),
        (["--method", "cryoformer", "--cryoformer.levels", "1000000"], "--cryoformer.levels"),
        (["--method", "cryoformer", "--cryoformer.channels", "1000000"], "--cryoformer.channels"),
        (["--method", "cryodrgn", "--encoder-width", "1000000"], "--encoder-width"),
        (["--method", "cryodrgn", "--decoder-width", "1000000", "--batch", "64"], "--decoder-width"),
        (["--method", "cryodrgn", "--decoder", "basis", "--basis-maps", "1000000"], "--basis-maps"),
        (["--method", "cryonoo", "--noo.expander", "1000000"], "--noo.expander"),
        (["--method", "cryonoo", "--encoder-maps", "1000000"], "--encoder-maps"),
    ],
)
def test_sizes_beyond_memory_are_refused_with_the_option_to_lower(
    tmp_path, capsys, monkeypatch, words: list[str], flag: str
) -> None:
    monkeypatch.setattr("vitreous.compute.memory.available_memory_bytes", lambda: 20_000 * MB)
    star = write_blob_particles(tmp_path, n=40)
    assert main(["flex", str(star), "-o", str(tmp_path / "run"), "--contrast", "bright", *words]) == 2
    said = capsys.readouterr().err
    assert "not enough memory for 40 particles" in said
    assert f"Lower {flag}: at its default of" in said
    assert "this takes about" not in said
    assert not (tmp_path / "run").exists()


def test_more_dimensions_than_particles_tell_apart_are_lowered(tmp_path, capsys) -> None:
    star = write_blob_particles(tmp_path, n=40)
    assert main(["flex", str(star), "-o", str(tmp_path / "run"), "--dims", "100000", "--contrast", "bright"]) == 2
    assert "Lower --dims to 20 or less" in capsys.readouterr().err


def test_memory_grows_with_images_and_box_where_no_option_is_to_blame(particles) -> None:
    estimate = memory_of(replace(FLEX, network=CryoDrgnConfig(epochs=3, batch=16)), particles)
    assert estimate.remedy == ""
    assert estimate.memory_bytes < 2e9
    assert particles.box == BOX
