"""Latents of a simulated motion, judged by everything there is to judge them by."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.cli.decoded_maps import SimulatedTruth
from vitreous.cli.main import main
from vitreous.errors import InputError
from vitreous.io.maps import read_map


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hinge") / "stack"
    split = ["--unseen", "0.3", "--unseen-states", "0.25", "--snr", "3"]
    angles = ["--hinge-angles", "-30", "30", "--states", "8"]
    words = ["simulate", "--n", "400", "--box", "32", *split, *angles, "--seed", "1"]
    assert main([*words, "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(stack: Path) -> dict[str, Path]:
    found = {}
    common = ["--threads", "1", "--quiet", "--contrast", "bright"]
    for seed in (0, 1):
        found[f"flex{seed}"] = stack.parent / f"flex{seed}"
        pca = ["--method", "pca", "--dims", "2", "--pca.iterations", "6", "--pca.seed", str(seed), "--clusters", "2"]
        words = ["flex", str(stack / "train.star"), *pca, *common, "-o", str(found[f"flex{seed}"])]
        assert main(words) == 0
    for part in ("unseen_particles", "unseen_states"):
        found[part] = stack.parent / part
        words = ["embed", str(stack / f"{part}.star"), "--run", str(found["flex0"]), *common]
        assert main([*words, "-o", str(found[part])]) == 0
    return found


def judged(tmp_path: Path, *words: str) -> dict[str, float]:
    out = tmp_path / "out.json"
    assert main(["evaluate", "latents", *words, "--json", str(out)]) == 0
    return json.loads(out.read_text())


def test_unseen_particles_are_placed_by_training_latents_alone(runs, stack, tmp_path) -> None:
    truth = ["--truth", str(stack / "latents_truth.csv"), "--known", str(runs["flex0"])]
    seen = judged(tmp_path, str(runs["unseen_particles"]), *truth)
    new = judged(tmp_path, str(runs["unseen_states"]), *truth)
    assert seen["circular_correlation"] > 0.9
    assert new["circular_correlation"] > 0.9
    assert seen["particles"] == len(np.load(runs["unseen_particles"] / "latents.npz")["z"])
    assert seen["total_variation"] == pytest.approx(seen["total_variation_within_known"], abs=0.25)


def test_known_particles_that_pass_for_new_ones_are_refused(runs, stack, capsys) -> None:
    """Two simulations name their particles alike: one truth for both would be wrong for one of them."""
    words = [str(runs["flex0"]), "--truth", str(stack / "latents_truth.csv"), "--known", str(runs["flex0"])]
    assert main(["evaluate", "latents", *words]) == 2
    assert "Give --known-truth" in capsys.readouterr().err
    assert main(["evaluate", "latents", *words, "--known-truth", str(stack / "latents_truth.csv")]) == 0


def test_parts_of_a_simulation_are_reported_apart(stack, tmp_path) -> None:
    truth = SimulatedTruth.read(stack / "latents_truth.csv")
    noise = torch.randn(len(truth.ids), 1, generator=torch.Generator().manual_seed(0))
    wrong = torch.from_numpy(truth.parts == "unseen_states")[:, None] * 100 * noise
    np.savez(tmp_path / "all.npz", ids=truth.ids, z=(truth.coordinates + wrong).numpy())
    found = judged(tmp_path, str(tmp_path / "all.npz"), "--truth", str(truth.path), "--linear", "--neighbours", "5")
    assert found["train.variance_explained"] > 0.9
    assert found["unseen_states.variance_explained"] < 0.9
    assert sum(found[f"{part}.particles"] for part in np.unique(truth.parts)) == len(truth.ids)


def test_decoded_maps_are_compared_with_those_of_the_particles_own_states(runs, stack, tmp_path) -> None:
    truth = ["--truth", str(stack / "latents_truth.csv"), "--maps", "4"]
    found = judged(tmp_path, str(runs["flex0"]), *truth)
    assert found["images"] == 4
    assert found["fsc_auc_mean"] > 0.2
    known = judged(tmp_path, str(runs["unseen_particles"]), *truth)  # embedded: by the run that embedded them
    assert known["fsc_auc_mean"] == pytest.approx(found["fsc_auc_mean"], abs=0.1)


def test_two_starts_are_compared_particle_by_particle(runs, tmp_path) -> None:
    found = judged(tmp_path, str(runs["flex0"]), "--against", str(runs["flex1"]), "--maps", "3")
    assert found["common_particles"] == len(np.load(runs["flex0"] / "latents.npz")["z"])
    assert found["canonical_correlations"][0] > 0.95
    assert found["first_from_second"] > 0.5
    assert found["between_runs_fsc_auc_mean"] > 0.35
    same = judged(tmp_path, str(runs["flex0"]), "--against", str(runs["flex0"]), "--maps", "2")
    assert same["canonical_correlations"] == pytest.approx([1, 1])
    assert same["shared_neighbours"] == pytest.approx(1)
    assert same["between_runs_fsc_auc_mean"] == pytest.approx(0.5, abs=0.02)


def test_the_map_of_a_state_is_found_whatever_its_digits(stack) -> None:
    truth = SimulatedTruth.read(stack / "latents_truth.csv")
    assert torch.equal(truth.map_of(3).values, read_map(stack / "state_03.mrc").values)
    with pytest.raises(InputError, match="no map of state 9"):
        truth.map_of(9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to compare with"),
        (["--known", "x", "--maps", "3"], "--maps needs maps"),
        (["--known", "x", "--known-truth", "y"], "--known-truth belongs"),
        (["--truth", "x", "--neighbours", "0"], "--neighbours must be"),
        (["--truth", "x", "--maps", "-1"], "--maps must not"),
        (["--truth", "x", "--period-deg", "0"], "--period-deg must be"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["evaluate", "latents", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err
