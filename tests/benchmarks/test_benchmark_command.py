"""``vitreous benchmark``: what it lists, refuses and finds."""

import json
from pathlib import Path

import pytest

from vitreous.cli import benchmark
from vitreous.cli.flex import Flex
from vitreous.cli.main import main
from vitreous.cli.parsing import parse
from vitreous.cli.studies import STUDIES, Study
from vitreous.evaluate.records import markdown_table, read_records
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.recipes import RECIPES, Recipe


def test_it_lists_tables_of_one_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark"]) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert named == [*benchmark.TABLES, *STUDIES]
    assert not any(RECIPES[name].specimen.hinge_angles for name in benchmark.TABLES)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["phantom-dem", "-o", "x"], "Did you mean phantom-demo"),
        (["phantom-hinge", "-o", "x"], "no benchmark 'phantom-hinge'"),
        (["phantom-demo"], "no output folder"),
        (["phantom-demo", "--structure", "a.pdb", "-o", "x"], "Leave --structure out"),
        (["ribosome-64", "-o", "x"], "PDB 4V5A"),
        (["ribosome-64", "--structure", "none.pdb", "-o", "x"], "none.pdb"),
        (["phantom-demo", "--seeds", "-1", "-o", "x"], "--seeds"),
        (["phantom-demo", "--rows", "one view", "-o", "x"], "Leave --rows out"),
        (["cryonoo-ablation", "--rows", "two views", "-o", "x"], "'one view'"),
        (["cryonoo-ablation", "--structure", "a.pdb", "-o", "x"], "Leave --structure out"),
        (["cryonoo-ablation"], "no output folder"),
    ],
)
def test_what_it_refuses(
    words: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert part in err
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_ends_it_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "run_step", lambda words: 2)
    assert main(["benchmark", "phantom-demo", "-o", str(tmp_path / "out"), "--quiet"]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, study in STUDIES.items() for row in study.rows])
def test_every_row_of_a_comparison_is_a_run_that_can_be_made(name: str, row: str) -> None:
    """Options that contradict each other are refused by the configuration itself."""
    study = STUDIES[name]
    words = [study.seed, "7", *study.options, *study.rows[row]]
    given = parse(Flex, ["train.star", "-o", "run", *words], "flex")
    of_method = given.cryoformer if name == "cryoformer-ablation" else given.network
    assert of_method.seed == 7


def test_settings_are_compared_on_particles_that_training_never_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ("--encoder-width", "16", "--encoder-layers", "1", "--decoder-width", "16", "--decoder-layers", "1")
    rows = {"of maps": ("--encoder", "maps", "--encoder-maps", "2"), "of pixels": (), "not asked for": ()}
    stack = ("--recipe", "phantom-hinge-32", "--n", "120", "--box", "24", "--unseen", "0.4")
    study = Study("a try", stack, ("--method", "cryodrgn", "--epochs", "1", "--dims", "2", *tiny), rows)
    monkeypatch.setitem(STUDIES, "small", study)
    monkeypatch.setattr(benchmark, "run_step", main)
    out = tmp_path / "out"
    words = ["benchmark", "small", "-o", str(out), "--seeds", "1", "--quiet", "--threads", "1"]
    assert main([*words, "--rows", "of maps", "of pixels"]) == 0
    table = (out / "table.md").read_text()
    assert capsys.readouterr().out.endswith(table)
    records = read_records(out / "records")
    assert [record.settings["row"] for record in records] == ["of maps", "of pixels"]
    for record in records:
        assert {f"{part}.fsc_auc_mean" for part in ("train", "unseen")} <= set(record.quality)
        assert "unseen.kl_known_new" in record.quality
    assert json.loads((out / "summary.json").read_text())["runs"] == 2


@pytest.mark.slow
def test_figures_are_those_of_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Recipe("small", "a try", SimulationConfig(n=300, box=32, snr=1.0, shift=1.0))
    monkeypatch.setitem(RECIPES, "small", small)
    monkeypatch.setattr(benchmark, "TABLES", ("small",))
    monkeypatch.setattr(benchmark, "run_step", main)  # here, where the small recipe is known
    out = tmp_path / "out"
    assert main(["benchmark", "small", "-o", str(out), "--seeds", "1", "--quiet", "--threads", "1"]) == 0
    table = (out / "table.md").read_text()
    assert capsys.readouterr().out.endswith(table)

    known, found = read_records(out / "records")
    assert (known.name, found.name) == ("small-known-poses", "small-seed-1")
    assert markdown_table([known, found], benchmark.COLUMNS) == table
    # 300 images of SNR 1 and 32 px determine poses to a degree or two, and the map from true poses is the better one.
    assert found.quality["median_deg"] < 4
    assert found.quality["within_10_deg"] > 0.9
    assert known.quality["resolution_05_A"] <= found.quality["resolution_05_A"] * 1.02
    pixel_size_A = json.loads((out / "stack" / "truth.json").read_text())["pixel_size_A"]
    assert 2 * pixel_size_A <= known.quality["resolution_05_A"] < 4 * pixel_size_A

    poses = tmp_path / "poses.json"
    assert (
        main(
            [
                "evaluate",
                "poses",
                str(out / "seed-1"),
                "--truth",
                str(out / "stack" / "truth.star"),
                "--json",
                str(poses),
            ]
        )
        == 0
    )
    assert json.loads(poses.read_text())["median_deg"] == pytest.approx(found.quality["median_deg"])
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["runs"], summary["solved"]) == (1, 1)
    assert main(["benchmark", "small", "-o", str(out), "--quiet"]) == 2
