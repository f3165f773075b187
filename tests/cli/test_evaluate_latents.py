"""Latents of a simulated motion, judged by everything there is to judge them by."""

import json
import shutil
from collections.abc import Sequence
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


def spread(n: int, dims: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, dims)).astype(np.float32)


def latents(path: Path, z: np.ndarray, stack: str = "a.mrcs", first: int = 1) -> str:
    np.savez(path, ids=np.array([f"{i + first}@{stack}" for i in range(len(z))]), z=z)
    return str(path)


def truth_table(path: Path, *columns: Sequence[float | str], stack: str = "a.mrcs", parts: Sequence[str] = ()) -> str:
    names = [f"coordinate_{k + 1}" for k in range(len(columns))]
    rows = [
        ",".join(map(str, [f"{i + 1}@{stack}", 1, *values, parts[i] if parts else "all"]))
        for i, values in enumerate(zip(*columns))
    ]
    path.write_text("\n".join([",".join(["id", "state", *names, "split"]), *rows]) + "\n")
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["evaluate", "latents", *words]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("angle", [0.0, 12.5, -30.0, 179.99])
def test_one_unseen_state_has_errors_and_no_correlation(tmp_path, capsys, angle: float) -> None:
    known, new = latents(tmp_path / "known.npz", spread(60)), latents(tmp_path / "new.npz", spread(12))
    truths = ["--truth", truth_table(tmp_path / "new.csv", [angle] * 12)]
    truths += ["--known", known, "--known-truth", truth_table(tmp_path / "known.csv", range(-60, 60, 2))]
    found = judged(tmp_path, new, *truths)
    assert "circular_correlation" not in found
    assert 0 < found["median_error_deg"] <= 180
    assert "circular_correlation is not defined" in capsys.readouterr().err
    found = judged(tmp_path, new, *truths, "--linear")
    assert "variance_explained" not in found
    assert "variance_explained is not defined" in capsys.readouterr().err


def test_a_part_of_one_state_is_named(tmp_path, capsys) -> None:
    new = latents(tmp_path / "new.npz", spread(60))
    angles, parts = [*range(30), *[5.0] * 30], [*["train"] * 30, *["unseen_states"] * 30]
    found = judged(tmp_path, new, "--truth", truth_table(tmp_path / "new.csv", angles, parts=parts))
    assert -1 <= found["train.circular_correlation"] <= 1
    assert "unseen_states.circular_correlation" not in found
    assert "unseen_states.median_error_deg" in found
    said = capsys.readouterr().err
    assert "unseen_states.circular_correlation is not defined" in said
    assert "train.circular_correlation" not in said


def test_neighbours_among_which_all_known_particles_would_be_are_refused(tmp_path, capsys) -> None:
    known, new = latents(tmp_path / "known.npz", spread(20)), latents(tmp_path / "new.npz", spread(40))
    table = truth_table(tmp_path / "new.csv", range(40))
    words = [new, "--truth", table, "--known", known, "--known-truth", table]
    for neighbours in ("20", "100000"):
        assert "expected less than 20" in refused(capsys, *words, "--neighbours", neighbours)
    assert "circular_correlation" in judged(tmp_path, *words, "--neighbours", "19")
    assert "expected less than 32" in refused(capsys, new, "--truth", table, "--neighbours", "32")


def test_few_particles_have_uncertain_distances_and_very_few_none(tmp_path, capsys) -> None:
    few, known = latents(tmp_path / "few.npz", spread(30)), latents(tmp_path / "known.npz", spread(300))
    assert "kl_known_new" in judged(tmp_path, few, "--known", known)
    assert "may be slightly negative" in capsys.readouterr().err
    judged(tmp_path, latents(tmp_path / "many.npz", spread(100)), "--known", known)
    assert "slightly negative" not in capsys.readouterr().err
    one = latents(tmp_path / "one.npz", spread(1))
    truths = ["--truth", truth_table(tmp_path / "a.csv", range(300)), "--known", known]
    truths += ["--known-truth", truths[1]]
    assert set(judged(tmp_path, one, *truths)) == {"particles", "mean_error_deg", "median_error_deg"}
    assert "no distances between the distributions" in capsys.readouterr().err
    assert "cannot be compared" in refused(capsys, one, "--known", known)


def test_truth_that_is_no_angle(tmp_path, capsys) -> None:
    words = [latents(tmp_path / "new.npz", spread(60)), "--truth"]
    one, other = list(range(60)), [7.0] * 60
    judged(tmp_path, *words, truth_table(tmp_path / "t.csv", one, [""] * 60))
    assert "warning" not in capsys.readouterr().err
    judged(tmp_path, *words, truth_table(tmp_path / "t.csv", one, other, one))
    assert "of 3 coordinates only coordinate_1 is compared, as an angle of period 360" in capsys.readouterr().err
    judged(tmp_path, *words, truth_table(tmp_path / "t.csv", one, other, one), "--linear")
    assert "warning" not in capsys.readouterr().err
    judged(tmp_path, *words, truth_table(tmp_path / "t.csv", [i % 3 for i in one]))
    assert "looks like the number of a class" in capsys.readouterr().err


@pytest.mark.parametrize("linear", [[], ["--linear"]])
def test_truth_with_empty_cells_is_refused(tmp_path, capsys, linear: list[str]) -> None:
    words = [latents(tmp_path / "new.npz", spread(60)), *linear, "--truth"]
    table = truth_table(tmp_path / "t.csv", [*range(55), *[""] * 5])
    said = refused(capsys, *words, table)
    assert f"{table}: 5 of 60 particles have no number in coordinate_1 (found the first in line 57)" in said
    assert "60 of 60 particles" in refused(capsys, *words, truth_table(tmp_path / "t.csv", [""] * 60))
    whole = truth_table(tmp_path / "t.csv", list(range(60)), [*range(59), ""])
    assert main(["evaluate", "latents", *words, whole]) == (2 if linear else 0)
    assert ("1 of 60 particles have no number in coordinate_2" in capsys.readouterr().err) == bool(linear)


def test_known_truth_without_the_coordinates_of_the_truth_is_refused(tmp_path, capsys) -> None:
    new, known = latents(tmp_path / "new.npz", spread(40)), latents(tmp_path / "known.npz", spread(60))
    truths = ["--truth", truth_table(tmp_path / "new.csv", range(40), range(40))]
    truths += ["--known-truth", truth_table(tmp_path / "known.csv", range(60))]
    assert "no such column" in refused(capsys, new, *truths, "--known", known, "--linear")


def test_latents_that_cannot_be_those_of_known_ones_are_refused(tmp_path, capsys) -> None:
    new, known = latents(tmp_path / "new.npz", spread(40)), latents(tmp_path / "known.npz", spread(60, 3))
    table = truth_table(tmp_path / "t.csv", range(60))
    words = ["--truth", table, "--known-truth", table, "--known", known]
    assert "have another dimension (expected 2, found 3)" in refused(capsys, new, *words)
    broken = spread(40)
    broken[3:5, 1] = np.nan
    said = refused(capsys, latents(tmp_path / "new.npz", broken), "--truth", table)
    assert "2 of 40 particles are no finite numbers (found 4@a.mrcs first)" in said


def test_runs_without_enough_common_particles(tmp_path, capsys) -> None:
    one = latents(tmp_path / "one.npz", spread(50))
    said = refused(capsys, one, "--against", latents(tmp_path / "b.npz", spread(50), stack="b.mrcs"))
    assert "the two runs share no particles" in said
    assert "embed the same particles with both" in said
    said = refused(capsys, one, "--against", latents(tmp_path / "c.npz", spread(50), first=40))
    assert "the two runs share too few particles to be compared: 11" in said
    assert "truth" not in said


def test_latents_that_are_all_the_same_have_no_variance_to_foretell(tmp_path, capsys) -> None:
    still = latents(tmp_path / "still.npz", np.ones((50, 2), np.float32))
    found = judged(tmp_path, latents(tmp_path / "one.npz", spread(50)), "--against", still)
    assert "second_from_first" not in found
    assert "first_from_second" in found
    assert "second_from_first is not defined" in capsys.readouterr().err


def test_maps_need_the_folder_of_a_run(runs, stack, capsys) -> None:
    file = runs["flex0"] / "latents.npz"
    for words in (["--truth", str(stack / "latents_truth.csv")], ["--against", str(runs["flex1"])]):
        said = refused(capsys, str(file), *words, "--maps", "1")
        assert "--maps needs the folder of a run" in said
        assert f"Give {file.parent}" in said


def test_maps_are_decoded_by_the_run_that_embedded_and_by_no_other(runs, stack, tmp_path, capsys) -> None:
    """The flex run of embedded particles goes elsewhere, and another takes its place."""
    flex, moved = runs["flex0"], tmp_path / "moved"
    words = [str(runs["unseen_particles"]), "--truth", str(stack / "latents_truth.csv"), "--maps", "1"]
    expected = judged(tmp_path, *words)["fsc_auc_mean"]
    flex.rename(moved)
    try:
        for elsewhere in ([], ["--known", str(runs["flex1"])]):
            said = refused(capsys, *words, *elsewhere)
            assert ("it is not there" if not elsewhere else "the latents are of another run") in said
            assert str(flex) in said
        assert judged(tmp_path, *words, "--known", str(moved))["fsc_auc_mean"] == pytest.approx(expected)
        shutil.copytree(runs["flex1"], flex)
        assert "was made again after these latents" in refused(capsys, *words)
        against = [str(runs["unseen_particles"]), "--against", str(runs["unseen_particles"]), "--maps", "1"]
        assert "was made again after these latents" in refused(capsys, *against)
        assert judged(tmp_path, *words, "--known", str(moved))["fsc_auc_mean"] == pytest.approx(expected)
    finally:
        shutil.rmtree(flex, ignore_errors=True)
        moved.rename(flex)
